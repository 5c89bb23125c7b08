#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount ends when it is told to, whatever else is wrong: no signals are left to its user, it has
# only just begun, the nodes are gone. What could not be stored is named, and the status tells it.
. "$(dirname "$0")/lib.sh"
need_fuse
cluster_up 3

ended() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}
# foreground [OPTIONS]: a mount that this shell can wait for, in $pid
foreground() {
    rm -f "$work/mnt.pid" "$work/mnt.log"
    kithfs "$servers:/" "$mnt" -f -o "log=$work/mnt.log,pid_file=$work/mnt.pid${1:+,$1}" \
        2>"$work/mnt.err" &
    pid=$!
    wait_for 30 "the mount" mountpoint -q "$mnt"
}
# status_is WANT: of the mount in the foreground, which ends within 60 s
status_is() {
    local rc=0
    wait_for 60 "the mount to end" ended "$pid"
    wait "$pid" || rc=$?
    [ $rc = "$1" ] || fail "status $rc, not $1: $(tail -n 5 "$work/mnt.log" "$work/mnt.err")"
    ! mountpoint -q "$mnt" || fail "$mnt is still mounted"
    [ ! -e "$work/mnt.pid" ] || fail "the pid file is left"
}
nodes() {
    kill -"$1" "$(node_pid 1)" "$(node_pid 2)" "$(node_pid 3)"
}

say "no signal of real time can be sent to it"
for signal in TERM INT HUP; do
    mount_up "$mnt" "pid_file=$work/mnt.pid"
    pid=$(cat "$work/mnt.pid")
    prlimit --pid "$pid" --sigpending=0:0
    kill -"$signal" "$pid"
    wait_for 20 "the mount to end by SIG$signal" ended "$pid"
    ! mountpoint -q "$mnt" || fail "$mnt is still mounted"
done

say "told so as soon as it answers"
for _ in $(seq 20); do
    foreground
    kill -TERM "$pid"
    status_is 0
done

# unsent FILE: has something that is not stored, while the nodes do not answer
unsent() {
    exec 7>"$mnt/$1"
    echo text >&7
    nodes STOP
    echo more >&7
}
for how in TERM umount; do
    say "the nodes are gone: $how"
    foreground op_timeout=1
    mkdir -p "$mnt/dir"
    unsent dir/lost
    from=$SECONDS
    if [ $how = TERM ]; then
        kill -TERM "$pid"
        status_is 1
        exec 7>&-
    else
        exec 7>&- || true # close(2) says it, too
        umount "$mnt"
        status_is 1
    fi
    took=$((SECONDS - from))
    nodes CONT
    say "took $took s"
    [ $took -le 30 ] || fail "that is too long"
    grep -q 'error flush: .*dir/lost could not be stored and is given up' "$work/mnt.log" ||
        fail "it is not said what was lost: $(cat "$work/mnt.log")"
    nodes_up
done

say "told again while it stores what is unsent, and the nodes come back"
foreground
unsent dir/kept
unmounted() {
    ! mountpoint -q "$mnt"
}
kill -TERM "$pid"
wait_for 10 "$mnt to be unmounted" unmounted
kill -TERM "$pid"
nodes CONT
status_is 0
exec 7>&-
nodes_up
mount_up
[ "$(cat "$mnt/dir/kept")" = "text
more" ] || fail "what was unsent is lost: $(cat "$mnt/dir/kept")"
pass
