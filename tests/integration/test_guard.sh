#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithfs ends, however it ends, while its notifier waits in the kernel for the lock of a directory
# whose holder waits for kithfs (fs/mount/guard.h): who waits gets an error within seconds, the mount
# can be unmounted and mounted again. While it lives, the waiting notifier delays nobody, and what it
# has to tell is told afterwards. Without its guard it tells nothing, and nothing hangs either.
. "$(dirname "$0")/lib.sh"
need_fuse
[ -r /proc/self/stack ] || skip "the kernel does not tell where a process waits"

seconds=5 # for an error after the end; kithfs itself would give up after op_timeout, 10 s
long=entry_timeout=60,attr_timeout=60
cluster_up 3
other=$work/mnt2
mount_up "$other"
# the notifier sleeps uninterruptibly
waits() {
    grep -qs '^[0-9]* (notify) D' "/proc/$pid"/task/*/stat
}
ended() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}
guard_of() {
    local status
    for status in /proc/[0-9]*/status; do
        if grep -qx 'Name:.fuse-guard' "$status" 2>/dev/null &&
            grep -qx "PPid:.$1" "$status" 2>/dev/null; then
            status=${status#/proc/}
            echo "${status%/status}"
        fi
    done
}
nodes() {
    kill -"$1" "$(node_pid 1)" "$(node_pid 2)" "$(node_pid 3)"
}
begin() {
    mount_up "$mnt" "$long,pid_file=$work/mnt.pid,log_level=debug"
    pid=$(cat "$work/mnt.pid")
    guard=$(guard_of "$pid")
    [ -n "$guard" ] || fail "there is no guard"
    ! grep -q kithfs "/proc/$guard/cmdline" || fail "the guard bears the name of kithfs"
    mkdir "$mnt/$1"
    echo text >"$mnt/$1/file"
    sync "$mnt/$1/file"
    stat "$mnt/$1/file" >/dev/null
    wait_for 10 "the other mount to see the file" stat "$other/$1/file"
    wait_for 10 "the directory to be watched" watched
}
watched() {
    grep -q 'watch: directory .*: live' "$work/mnt.log"
}
# A call in directory $1 holds its lock and waits for nodes that are frozen; then the mount is told of
# a change there. $caller is the call.
wedge() {
    kill -STOP "$pid"
    chmod 600 "$other/$1/file"
    sync "$other/$1/file"
    nodes STOP
    mkdir "$mnt/$1/sub" 2>"$work/caller.err" &
    caller=$!
    wait_for 10 "the call to be waiting" calls "$caller"
    kill -CONT "$pid"
}
# it waits for an answer, with the lock of the directory
calls() {
    grep -q 'fuse_lookup\|fuse_mkdir' "/proc/$1/stack"
}
caller_failed() {
    wait_for $seconds "the waiting call to end" ended "$caller"
    if wait "$caller"; then
        fail "a call that nobody answered succeeded"
    fi
    say "the call ended: $(cat "$work/caller.err")"
}

say "alive"
begin alive
wedge alive
wait_for 10 "the notifier to wait in the kernel" waits
from=$(date +%s%N)
for _ in $(seq 50); do
    stat -f "$mnt" >/dev/null
done
took=$((($(date +%s%N) - from) / 1000000))
say "50 other calls took $took ms"
[ $took -lt 2000 ] || fail "a waiting notifier delays other calls"
waits || fail "the notifier did not wait all the time"
nodes CONT
wait "$caller" || fail "mkdir: $(cat "$work/caller.err")"
told() {
    [ "$(stat -c %a "$mnt/alive/file")" = 600 ]
}
wait_for 10 "what the notifier had to tell" told
mount_down
wait_for 30 "kithfs to end" ended "$pid"
wait_for 10 "its guard to end" ended "$guard"

for signal in KILL ABRT SEGV TERM; do
    say "$signal"
    rm -f "$work/mnt.log"
    begin $signal
    wedge $signal
    wait_for 10 "the notifier to wait in the kernel" waits
    kill -$signal "$pid"
    caller_failed
    nodes CONT
    wait_for 40 "kithfs to end" ended "$pid"
    wait_for 10 "its guard to end" ended "$guard"
    if [ $signal != TERM ]; then # that one unmounts by itself
        timeout -s KILL 10 stat "$mnt/$signal/file" >/dev/null 2>"$work/stat.err" && fail "a dead mount answers"
        grep -q 'not connected' "$work/stat.err" || fail "a dead mount: $(cat "$work/stat.err")"
        umount "$mnt" || fail "the dead mount cannot be unmounted"
    fi
    ! mountpoint -q "$mnt" || fail "$mnt is still mounted"
    rm -f "$work/mnt.pid"
    if [ $signal = ABRT ] || [ $signal = SEGV ]; then
        grep -qx "error kithfs: ended by SIG$signal" "$work/mnt.log" || fail "the log does not say what happened"
    fi
    wait_for 30 "all nodes to be up" kithctl status --servers "$servers"
    mount_up
    [ "$(cat "$mnt/$signal/file")" = text ] || fail "the file cannot be read after a new mount"
    mount_down
done

say "without a guard"
rm -f "$work/mnt.log"
begin bare
kill -KILL "$guard"
wait_for 10 "the guard to be gone" ended "$guard"
wedge bare
wait_for 10 "the mount to know it" grep -q 'guards the mount is gone' "$work/mnt.log"
! waits || fail "the notifier waits without a guard"
kill -KILL "$pid"
caller_failed
rm "$work/mnt.pid"
nodes CONT
umount "$mnt" || fail "the dead mount cannot be unmounted"
mount_down "$other"
pass
