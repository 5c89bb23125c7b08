#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Attribute changes after the first flush: those that may wait cost rsync and tar no put of their
# own, those that may not are there when the call returns; and what waits is put before fsync and
# unmount, seen by another mount within the bound, and not lost with a node.
. "$(dirname "$0")/lib.sh"
need_fuse
do_step() {
    /usr/bin/python3 "$here/attr_wait.py" "$@"
}
count() {
    sed -n "s/^$1 //p" "$fake_log" | tail -n 1
}

# ---- the puts, counted ----
fake_up
fake_down
idle=$(count put)
files=40
fake_up 200
do_step files "$mnt" $files
[ "$(stat -c %a-%Y "$mnt/f7")" = 644-1000000000 ] || fail "f7: $(stat -c %a-%Y "$mnt/f7")"
fake_down
# one put at close, one for the rename; a few attributes may have become due on a slow machine
puts=$(($(count put) - idle))
say "rsync: $puts puts for $files files"
[ $puts -le $((files * 5 / 2)) ] || fail "$puts puts for $files files made as rsync does"
[ "$(count conflicts)" = 0 ] || fail "conflicts"

fake_up 200
do_step dirs "$mnt" $files
[ "$(stat -c %a-%Y "$mnt/d7")" = 755-1000000000 ] || fail "d7: $(stat -c %a-%Y "$mnt/d7")"
fake_down
# its name, its own row, and one of the attributes together
puts=$(($(count put) - idle))
say "tar: $puts puts for $files directories"
[ $puts -le $((files * 7 / 2)) ] || fail "$puts puts for $files directories made as tar does"

# ---- two mounts: the other asks each time ----
cluster_up 3
pid_file=$work/kithfs.pid
mount_up "$mnt" "pid_file=$pid_file"
mount_up "$other" nowatch,attr_timeout=0,entry_timeout=0 # under a watch it answers from memory
mode_there() {
    stat -c %a "$other/$1"
}

do_step young "$mnt/young"
took=$(do_step seen "$other/young" 644 2) || fail "the mode of a new file does not come"
say "the mode of a new file is there after $took ms"
do_step files "$mnt" 3
[ "$(stat -c %a-%Y "$other/f2")" = 644-1000000000 ] || fail "rename left the attributes behind"

do_step shut "$mnt/shut" # narrower for what will be put into it
[ "$(mode_there shut)" = 700 ] || fail "a directory that is closed: $(mode_there shut)"

# what is wider may wait in what was made less than a second ago only
older() {
    [ -z "$(find "$mnt/young" "$mnt/shut" -newermt '1.1 seconds ago')" ]
}
wait_for 10 "the file and the directory to be older" older
do_step step "$mnt/young" 0666
[ "$(mode_there young)" = 666 ] || fail "a wider mode is not there at once: $(mode_there young)"
do_step step "$mnt/shut" 0755
[ "$(mode_there shut)" = 755 ] || fail "a wider directory is not there at once: $(mode_there shut)"
do_step step "$other/young" 0777 # not made there at all
[ "$(stat -c %a "$other/young")" = 777 ] || fail "chmod at the other mount"
wait_for 10 "the first mount to see it" has_mode "$mnt/young" 777

# the rows are put for the disk; what follows is attributes alone
do_step fsync "$mnt/young" 1134567890
do_step fsync "$mnt/shut" 1134567891
do_step fsync "$mnt/young" 1234567890
[ "$(stat -c %Y "$other/young")" = 1234567890 ] || fail "fsync did not put the times"
do_step fsync "$mnt/shut" 1234567891
[ "$(stat -c %Y "$other/shut")" = 1234567891 ] || fail "fsync of a directory did not put the times"

# ---- a node dies while they wait ----
do_step young "$mnt/node"
node_kill 2
do_step seen "$other/node" 644 10 >/dev/null || fail "lost with a node"
cluster_up 3
nodes_up

# ---- the mount ends while they wait: in order, and killed ----
pid=$(cat "$pid_file")
do_step young "$mnt/end"
mount_down
wait_for 20 "the mount to end" gone "$pid"
[ "$(mode_there end)" = 644 ] || fail "unmounting lost a mode: $(mode_there end)"

mount_up "$mnt" "pid_file=$pid_file"
do_step young "$mnt/killed"
kill -KILL "$(cat "$pid_file")"
rm "$pid_file"
fusermount3 -uz "$mnt"
[ "$(cat "$other/killed")" = contents ] || fail "contents: $(cat "$other/killed")"
case $(mode_there killed) in
600 | 644) ;;
*) fail "a mode that nobody set: $(mode_there killed)" ;;
esac
mount_down "$other"
pass
