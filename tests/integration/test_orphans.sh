#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount makes something in a directory that another removes, and is killed before it learns of that:
# the data is there and no name leads to it. The next check of any mount gives the directory its name
# back. What is well stays as it is, while nodes fall, and a mount in which a check is under way ends
# at once.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up "$mnt" nowatch,entry_timeout=600,attr_timeout=600,check=0,pid_file="$work/pid"
mount_up "$other" check=0
mkdir -p "$other/tree/sub" "$other/tree/empty" "$other/work/lost/deep" "$other/work/gone"
(cd "$other/tree" && for i in $(seq 200); do mkdir -p "sub/d$((i % 20))"; echo $i >"sub/d$((i % 20))/$i"; done)
ln "$other/tree/sub/d1/1" "$other/tree/sub/d2/one"
find "$other/tree" | sort >"$work/before"

mkdir "$work/none"
ls -R "$mnt/work" >"$work/seen" # it knows them, and asks nobody for ten minutes
stat "$mnt/work/lost/deep" >>"$work/seen"
exec 5<"$mnt/work/lost/deep"
rmdir "$other/work/lost/deep" "$other/work/lost" "$other/work/gone"
echo text >/proc/self/fd/5/file || fail "nothing can be made in what was removed elsewhere"
sync -f "/proc/self/fd/5/file"
exec 5<&-
mount_pid=$(cat "$work/pid")
kill -KILL "$mount_pid"
wait_for 10 "the mount to be gone" gone "$mount_pid"
umount -l "$mnt"
ls "$other/work" | wc -l | grep -qx 0 || fail "it is there already: nothing to test"

checking=$work/mnt3
mount_up "$checking" check=1
is_back() {
    [ "$(cat "$other/work/lost/deep/file")" = text ]
}
wait_for 60 "the directory to have its name again" is_back
[ "$(ls "$other/work")" = lost ] || fail "in work: $(ls "$other/work")"
[ ! -e "$other/lost+found" ] || fail "in lost+found: $(ls -R "$other/lost+found")"
wait_for 10 "the log to say what was found" \
    grep 'had no name: 2 have theirs again, 0 are' "$work/mnt3.log"

# checks go on, and find nothing to do, while nodes fall
checks() {
    grep -c 'names lead to all of' "$work/mnt3.log"
}
more_checks() {
    [ "$(checks)" -gt "$1" ]
}
nodes_fall
nodes_up
before=$(checks)
wait_for 60 "another check" more_checks "$before"
find "$other/tree" | sort >"$work/after"
diff "$work/before" "$work/after" || fail "the tree has changed"
[ "$(grep -c 'had no name' "$work/mnt3.log")" = 1 ] || fail "something else was moved"
mount_down "$checking"
mount_down "$other"
cluster_down
pass
