#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The newcomer's path: quickstart DIR, work, --stop, quickstart again brings the same data back,
# with as many nodes as it was made with. What quickstart does not take it names.
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
    local status=$? d
    set +e
    for d in "$place" "$alone"; do
        [ -d "$d" ] && "$KITH_TOP/packaging/quickstart" --stop "$d" >/dev/null 2>&1
        fusermount3 -quz "$d/mnt" # where that has failed
    done
    (exit $status) # for cleanup
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
# mount_kill: SIGKILL to the mount at $alone/mnt, and wait until it is gone
mount_kill() {
    local pid
    pid=$(cat "$alone/kithfs.pid")
    kill -KILL "$pid"
    wait_for 10 "the mount to be gone" sh -c "! kill -0 $pid"
}

say "a terminal is told how far the build is, and that it failed"
mkdir "$work/fake"
cat >"$work/fake/cmake" <<'FAKE'
#!/bin/sh
[ "$1" = --build ] || exit 0
echo '[1/8] Building C object a.o'
sleep 1.2
echo '[4/8] Building C object b.o'
sleep 1.2
echo 'b.c: error: no'
exit 1
FAKE
chmod +x "$work/fake/cmake"
rc=0
PATH=$work/fake:$PATH script -qec "$KITH_TOP/packaging/quickstart $work/never" "$work/screen" >/dev/null 2>&1 || rc=$?
[ $rc = 1 ] && grep -q '4 of 8 files  \[##########----------\] 50%  ETA [0-9]* s' "$work/screen" &&
    grep -q 'the build failed' "$work/screen" || fail "status $rc: $(cat "$work/screen")"

say "first start"
quick "$place"
grep -q 'Stop:' "$work/quick.log" || fail "does not say how to stop"
echo hello >"$place/mnt/file"
mkdir "$place/mnt/dir"
ln -s ../file "$place/mnt/dir/link"
kithctl status --timeout 2s --servers "$(cat "$place/node1/address")" >/dev/null 2>&1 &&
    fail "who has no certificate gets an answer"
kithctl local status "$place" >/dev/null || fail "local status"
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
quick --nodes 3 "$alone" # the new ones get what there is
[ "$(cat "$alone/mnt/file")" = one ] || fail "the data, with more nodes"
quick --stop "$alone"
pgrep -f -- "--data $alone/" >/dev/null && fail "a node still runs"
quick "$alone"
grep -q '^node3  ' "$work/quick.log" || fail "a node that was added is not remembered"
[ "$(cat "$alone/mnt/file")" = one ] || fail "the data did not come back"
quick --stop "$alone"

say "a mount that was killed, and a pid file that names another process"
quick "$alone"
echo two >"$alone/mnt/file"
mount_kill
echo $$ >"$alone/kithfs.pid"
quick --stop "$alone"
mountpoint -q "$alone/mnt" && fail "still mounted"
ls "$alone/mnt" >/dev/null || fail "the dead mount is still there"
quick "$alone"
mount_kill
quick "$alone"
[ "$(cat "$alone/mnt/file")" = two ] || fail "the file after a mount over a dead one"
say "stop while somebody works in it"
(
    cd "$alone/mnt" || exit
    refuses "process $BASHPID" --stop "$alone"
)
[ "$(cat "$alone/mnt/file")" = two ] || fail "the mount after a refused stop"
quick --stop "$alone"

say "bad input"
refuses many --nodes many "$place"
refuses 65 --nodes 65 "$place"
refuses "takes a number" "$place" --nodes
refuses "no such directory" --stop "$work/nosuch"
mkdir "$work/empty" "$work/a,b"
refuses "nothing that quickstart" --stop "$work/empty"
refuses comma "$work/a,b"
: >"$work/plain"
refuses "no directory" "$work/plain"
: >"$place/mnt/hidden"
refuses "not empty" "$place"
pass
