#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a daemon says when it dies stands in its log: standard error of kithfs in the background and
# of a node is the log's file, also after the log was moved, and a fatal signal leaves a line. Without
# a log of its own kithfs in the background speaks to the system's.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up "$mnt" "pid_file=$work/mnt.pid"
pid=$(cat "$work/mnt.pid")
says_to() {
    [ "$(readlink "/proc/$1/fd/1")" = "$2" ] && [ "$(readlink "/proc/$1/fd/2")" = "$2" ]
}
says_to "$pid" "$work/mnt.log" || fail "standard error of kithfs: $(readlink "/proc/$pid/fd/2")"
kill -ABRT "$pid"
wait_for 10 "the log to say it" grep -qx 'error kithfs: ended by SIGABRT' "$work/mnt.log"
umount "$mnt"
rm -f "$work/mnt.pid"

log=$dir/node3.log
pid=$(node_pid 3)
says_to "$pid" "$log" || fail "standard error of kithd: $(readlink "/proc/$pid/fd/2")"
mv "$log" "$log.1"
kill -HUP "$pid"
wait_for 10 "the log to be opened again" says_to "$pid" "$log"
kill -SEGV "$pid"
wait_for 10 "the log to say it" grep -qx 'error kithd: ended by SIGSEGV' "$log"
! grep -q 'ended by' "$log.1" || fail "the old log has it"

# started by hand: the log has it from when the node serves on
log=$work/hand.log
kithd --insecure --data "$work/hand" --listen 127.0.0.1:0 --log "$log" 2>"$work/hand.err" &
pid=$!
echo $pid >"$work/hand.pid"
wait_for 30 "kithd to listen" grep -q listening "$log"
says_to "$pid" "$log" || fail "standard error of a kithd started by hand"
kill "$pid"
wait "$pid" || fail "kithd ended with $?"
rm "$work/hand.pid"

# Started with standard files closed: what is opened next must not get their numbers, for the log
# takes them, and /dev/null before (the guard of the mount was closed so, and ended the connection).
for closed in '0<&- 1>&- 2>&-' '0<&-' '1>&-' '2>&-'; do
    say "started with $closed"
    eval "kithfs $servers:/ $mnt $closed" || fail "kithfs did not mount"
    echo text >"$mnt/file" || fail "the mount cannot be used"
    [ "$(cat "$mnt/file")" = text ] || fail "the mount cannot be read"
    mount_down
done
rm -f "$work/mnt.log"
eval "kithfs $servers:/ $mnt -o log=$work/mnt.log,pid_file=$work/mnt.pid 0<&- 1>&- 2>&-"
pid=$(cat "$work/mnt.pid")
says_to "$pid" "$work/mnt.log" || fail "the log is lost in the background"
mount_down
rm -rf "$work/hand" "$log"
eval "kithd --insecure --data $work/hand --listen 127.0.0.1:0 --log $log 0<&- 1>&- 2>&- &"
pid=$!
echo $pid >"$work/hand.pid"
wait_for 30 "kithd to listen" grep -q listening "$log"
says_to "$pid" "$log" || fail "standard error of a kithd started without one"
readlink "/proc/$pid"/fd/* | grep -qx "$work/hand/lock" || fail "kithd has lost the lock of its data"
kill "$pid"
wait "$pid" || fail "kithd ended with $?"
rm "$work/hand.pid"
mount_up
mount_down

# the system's log, which begins to be read, and is read anew, while the mount is there
cat >"$work/reader.py" <<'END'
import os, socket, sys
try:
    os.unlink('/dev/log')
except FileNotFoundError:
    pass
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind('/dev/log')
open(sys.argv[1] + '.pid', 'w').write(str(os.getpid()))
with open(sys.argv[1], 'ab', 0) as out:
    while True:
        out.write(reader.recv(65536).rstrip(b'\n') + b'\n')
END
own_dev() {
    set -eu
    mkdir "$work/dev"
    mount -t tmpfs none "$work/dev"
    cp -a /dev/fuse /dev/null /dev/zero /dev/random /dev/urandom "$work/dev"
    mount --bind "$work/dev" /dev
    kithfs "$servers:/" "$mnt" -o "log_level=debug,pid_file=$work/mnt.pid"
    local pid at fd=/proc/$(cat "$work/mnt.pid")/fd
    [ "$(readlink "$fd/2")" = /dev/null ] || fail "standard error: $(readlink "$fd/2")"
    for at in first second; do
        python3 "$work/reader.py" "$work/$at.log" &
        pid=$!
        wait_for 10 "a reader" test -s "$work/$at.log.pid"
        wait_for 10 "a line in the system's log" touch_and_grep "$work/$at.log"
        [ $at = second ] || { kill $pid; wait $pid || true; }
    done
    kill -ABRT "$(cat "$work/mnt.pid")"
    wait_for 10 "the system's log to say it" grep -qx 'error kithfs: ended by SIGABRT' "$work/second.log"
    kill $pid
    fusermount3 -uz "$mnt"
}
touch_and_grep() {
    touch "$mnt/touched" && grep -q '^<3[0-9]>kithfs\[[0-9]*\]: [a-z]*: ' "$1"
}
export -f own_dev touch_and_grep fail wait_for say
export servers mnt work
unshare -m --propagation private bash -c own_dev || fail "the system's log"
pass
