#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The newcomer's path: quickstart DIR, work, --stop, quickstart again brings the same data back, with
# as many nodes as it was made with. What quickstart does not take it names.
. "$(dirname "$0")/lib.sh"
need_fuse
place=$work/quick
alone=$work/alone
quick() {
    "$KITH_TOP/packaging/quickstart" "$@" >"$work/quick.log" 2>&1 || {
        cat "$work/quick.log"
        fail "quickstart $*"
    }
}
stop_all() {
    local d
    for d in "$place" "$alone"; do
        [ -d "$d" ] && "$KITH_TOP/packaging/quickstart" --stop "$d" >/dev/null 2>&1
    done
    cleanup
}
trap stop_all EXIT

# refuses TEXT ARGUMENT...: fails and says TEXT
refuses() {
    local text=$1
    shift
    "$KITH_TOP/packaging/quickstart" "$@" >"$work/quick.log" 2>&1 && fail "was not refused: $*"
    grep -q -- "$text" "$work/quick.log" || {
        cat "$work/quick.log"
        fail "no '$text' in the message of: quickstart $*"
    }
}

say "first start"
quick "$place"
grep -q 'Stop:' "$work/quick.log" || fail "does not say how to stop"
echo hello >"$place/mnt/file"
mkdir "$place/mnt/dir"
ln -s ../file "$place/mnt/dir/link"
say "again while it runs"
quick "$place"
[ "$(cat "$place/mnt/dir/link")" = hello ] || fail "read back"
say "stop"
quick --stop "$place"
mountpoint -q "$place/mnt" && fail "still mounted"
pgrep -f -- "--data $place/" >/dev/null && fail "a node still runs"
say "start again"
quick "$place"
[ "$(cat "$place/mnt/dir/link")" = hello ] || fail "the data did not come back"
quick --stop "$place"
say "another number of nodes"
quick --nodes 1 "$alone"
echo one >"$alone/mnt/file"
refuses "moves existing data" --nodes 3 "$alone"
quick --stop "$alone"
grep -q 'node2' "$work/quick.log" && fail "a node that was refused is remembered"
pgrep -f -- "--data $alone/" >/dev/null && fail "a node that was refused still runs"
quick "$alone"
[ "$(cat "$alone/mnt/file")" = one ] || fail "the data did not come back"
quick --stop "$alone"

say "bad input"
refuses many --nodes many "$place"
refuses 65 --nodes 65 "$place"
refuses "takes a number" "$place" --nodes
pass
