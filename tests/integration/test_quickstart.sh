#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The newcomer's path: quickstart DIR, work, --stop, quickstart again brings the same data back.
. "$(dirname "$0")/lib.sh"
need_fuse
place=$work/quick
quick() {
    "$KITH_TOP/packaging/quickstart" "$@" >"$work/quick.log" 2>&1 || {
        cat "$work/quick.log"
        fail "quickstart $*"
    }
}
stop_all() {
    [ -d "$place" ] && "$KITH_TOP/packaging/quickstart" --stop "$place" >/dev/null 2>&1
    cleanup
}
trap stop_all EXIT

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
say "bad input"
"$KITH_TOP/packaging/quickstart" --nodes many "$place" >/dev/null 2>"$work/err.log" &&
    fail "--nodes many"
grep -q many "$work/err.log" || fail "the message does not name the bad value"
pass
