#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Where kithfs may be mounted, and what it says where not; and whose mount ends when several lie one
# over the other at one path.
. "$(dirname "$0")/lib.sh"
need_fuse
cluster_up 3

# refused STATUS TEXT KITHFS-WORD...: says TEXT and ends with STATUS
refused() {
    local want=$1 text=$2 rc=0
    shift 2
    timeout -s KILL 30 kithfs "$@" >"$work/out.log" 2>&1 || rc=$?
    [ $rc = "$want" ] || fail "status $rc, not $want: kithfs $*: $(cat "$work/out.log")"
    grep -q -- "$text" "$work/out.log" ||
        fail "no '$text' in the message of: kithfs $*: $(cat "$work/out.log")"
}
# layers MOUNTPOINT: how many mounts are there
layers() {
    grep -c " $1 " /proc/self/mountinfo || true
}
# one MOUNTPOINT: mounts there as well, and $pid is its process
one() {
    mount_up "$1" "pid_file=$work/one.pid,${2-ro}"
    pid=$(cat "$work/one.pid")
    rm "$work/one.pid"
}
ended() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}
end_one() {
    kill -TERM "$1"
    wait_for 30 "process $1 to end" ended "$1"
}
lives() {
    [ "$(timeout -s KILL 20 cat "$1/file")" = text ] || fail "the mount at $1 is gone"
}

say "no place for a mount"
: >"$work/file"
refused 2 "not a directory" "$servers:/" "$work/file"
refused 2 "No such file" "$servers:/" "$work/nothing"
refused 2 "No such file" "$servers:/" ""
mkdir "$work/gone"
(cd "$work/gone" && rmdir "$work/gone" && refused 2 "No such file" "$servers:/" .)

say "a relative path, a symbolic link, slashes, a blank, not empty, in a removed directory"
mkdir -p "$work/places/a b" "$work/gone"
ln -s places "$work/link"
: >"$work/places/a b/hidden"
for place in "../a b" "$work/link/a b///" "$work/places/./a b"; do
    (cd "$work/link/a b" && kithfs "$servers:/" "$place" -o "log=$work/a.log")
    echo text >"$work/places/a b/file" || fail "$place cannot be used"
    [ ! -e "$work/places/a b/hidden" ] || fail "$place is not mounted"
    umount "$work/places/a b"
done
(cd "$work/gone" && rmdir "$work/gone" && kithfs "$servers:/" "$mnt" -o "log=$work/mnt.log")
echo text >"$mnt/file"

say "a kithfs is there"
for place in "$mnt" "$mnt/" "$mnt/../mnt/."; do
    refused 32 "already mounted.*fusermount3 -u" "$servers:/" "$place"
done
refused 32 "already mounted" "$(echo "$servers" | cut -d, -f2):/" "$mnt"
refused 32 "already mounted" "127.0.0.1:1:/" "$mnt" # and without asking the cluster
[ "$(layers "$mnt")" = 1 ] || fail "it was mounted over"
lives "$mnt"
mkdir "$mnt/dir"
one "$mnt/dir" # the directory is none that is mounted on
lives "$mnt/dir"
refused 32 "already mounted" "$servers:/" "$mnt/dir"
umount "$mnt/dir"
wait_for 30 "process $pid to end" ended "$pid"
$(grep -o 'fusermount3 -u .*' "$work/out.log" | sed "s,$mnt/dir,$mnt,") || fail "the remedy"

say "a dead one is there: a new one takes its place"
killed() {
    kill -KILL "$1"
    wait_for 10 "process $1 to end" ended "$1"
    ! stat -f "$mnt" >"$work/stat.out" 2>&1 || fail "it is not dead"
}
for keep in 0 60; do # with attributes that the kernel still has
    one "$mnt" "attr_timeout=$keep"
    stat "$mnt" >"$work/stat.out"
    (
        cd "$mnt"
        exec 6<file
        touch "$work/inside.$keep"
        exec sleep 60
    ) >"$work/inside.log" 2>&1 &
    inside=$!
    wait_for 10 "a process in it" test -e "$work/inside.$keep"
    killed "$pid"
    kithfs "$servers:/" "$mnt/" -o "ro,log=$work/mnt.log,pid_file=$work/one.pid" || fail "not replaced"
    pid=$(cat "$work/one.pid")
    lives "$mnt"
    [ "$(layers "$mnt")" = 1 ] || fail "it is mounted $(layers "$mnt") times"
    kill "$inside"
    end_one "$pid"
    [ "$(layers "$mnt")" = 0 ] || fail "the dead one is there again"
done

say "a dead one stays where no new one can be mounted, and where something is mounted in it"
one "$mnt"
killed "$pid"
refused 32 "no node of" 127.0.0.1:1:/ "$mnt" -o mount_timeout=1
[ "$(layers "$mnt")" = 1 ] || fail "the dead one is away, and nothing has taken its place"
fusermount3 -uz "$mnt"
one "$mnt" rw
mount -t tmpfs tmpfs "$mnt/dir"
killed "$pid"
refused 32 "something else in it.*fusermount3 -uz" "$servers:/" "$mnt"
[ "$(layers "$mnt/dir")" = 1 ] || fail "what was mounted in it is away"
fusermount3 -uz "$mnt" # the path of what is in it leads through the dead one
[ "$(layers "$mnt")" = 0 ] || fail "the remedy helps nobody"

say "a user's dead one, and who may replace it"
as_user() {
    setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
mkdir -p "$work/mnt.user"
chown 65534:65534 "$work/mnt.user"
chmod 755 "$work"
user_up() {
    as_user kithfs "$servers:/" "$work/mnt.user" -o log=/dev/null
}
user_process() {
    pgrep -u 65534 -f "kithfs .* $work/mnt.user" | head -n 1
}
if user_up 2>"$work/out.log"; then
    pid=$(user_process)
    kill -KILL "$pid"
    wait_for 10 "process $pid to end" ended "$pid"
    user_up || fail "a user's mount that has died was not replaced"
    [ "$(layers "$work/mnt.user")" = 1 ] || fail "mounted $(layers "$work/mnt.user") times"
    [ "$(as_user cat "$work/mnt.user/file")" = text ] || fail "it does not live"
    as_user fusermount3 -u "$work/mnt.user"
else
    say "no mounts by users here: $(cat "$work/out.log")"
fi
mount_up "$mnt" "allow_other,pid_file=$work/one.pid"
killed "$(cat "$work/one.pid")"
rm -f "$work/one.pid"
as_user kithfs "$servers:/" "$mnt" >"$work/out.log" 2>&1 && fail "a user has replaced root's"
grep -q "root, may unmount it: fusermount3 -uz\|fusermount3\|Permission denied" "$work/out.log" ||
    fail "it says: $(cat "$work/out.log")"
[ "$(layers "$mnt")" = 1 ] || fail "a user has taken root's away"
fusermount3 -uz "$mnt"

say "another filesystem is there"
mount -t tmpfs tmpfs "$mnt"
refused 32 "filesystem (tmpfs) is mounted there.*umount $mnt;.*-o over" "$servers:/" "$mnt"
[ "$(layers "$mnt")" = 1 ] || fail "it was mounted over"
mkdir "$mnt/below"
one "$mnt/below" # a directory in it is none that is mounted on
end_one "$pid"
umount "$mnt"

say "remount"
one "$mnt" nosuid,nodev
echo more >"$mnt/more"
mount_ro() {
    findmnt -no OPTIONS "$mnt" | tr , '\n' | grep -qx ro
}
# as mount(8) calls it
mkdir -p "$work/sbin"
ln -sf "$(command -v kithfs)" "$work/sbin/mount.kithfs"
"$work/sbin/mount.kithfs" "$servers:/" "$mnt" -o remount,ro || fail "remount,ro"
mount_ro || fail "not read-only"
! echo more >>"$mnt/more" || fail "it can be written to"
"$work/sbin/mount.kithfs" "$servers:/" "$mnt" -o rw,remount,op_timeout=5 2>"$work/out.log" ||
    fail "remount,rw: $(cat "$work/out.log")"
grep -q "only ro and rw can be changed.*umount $mnt" "$work/out.log" ||
    fail "it says nothing of op_timeout: $(cat "$work/out.log")"
! mount_ro || fail "still read-only"
findmnt -no OPTIONS "$mnt" | grep -q 'nosuid.*nodev' || fail "flags are lost"
echo more >>"$mnt/more" || fail "it cannot be written to"
mount -i -o remount,ro "$mnt" || fail "mount -i -o remount,ro"
mount_ro || fail "mount -i: not read-only"
mount -i -o remount,rw "$mnt" || fail "mount -i -o remount,rw"
exec 6>>"$mnt/more"
refused 32 "open for writing" "$servers:/" "$mnt" -o remount,ro
exec 6>&-
end_one "$pid"
refused 32 "no kithfs is mounted there" "$servers:/" "$mnt" -o remount,ro

say "something else between two"
one "$mnt"
lower=$pid
mount -t tmpfs tmpfs "$mnt"
one "$mnt" ro,over
upper=$pid
[ "$(layers "$mnt")" = 3 ] || fail "there are no three mounts"
end_one "$lower"
grep -q "$mnt does not lead to this mount.*fusermount3 -uz $mnt" "$work/mnt.log" || fail "it does not say what is left"
[ "$(layers "$mnt")" = 3 ] || fail "the end of the lowest has unmounted another"
lives "$mnt"
end_one "$upper"
[ "$(layers "$mnt")" = 2 ] || fail "the end of the upper has not unmounted it"
mountpoint -q "$mnt" || fail "not the upper was unmounted"
umount "$mnt"
[ "$(layers "$mnt")" = 1 ] || fail "the lowest is not there any more"
fusermount3 -uz "$mnt"

say "one that was unmounted lazily, but is still used"
one "$mnt"
lower=$pid
exec 7<"$mnt/file"
umount -l "$mnt"
! ended "$lower" || fail "it has ended already"
one "$mnt"
upper=$pid
end_one "$lower"
exec 7<&-
lives "$mnt"
end_one "$upper"
[ "$(layers "$mnt")" = 0 ] || fail "$mnt is still mounted"

say "a path with a comma, a long path"
mount_up
part=$(printf '%0200d' 0)
mkdir -p "$mnt/a,b\\c" "$mnt/$part/$part/$part"
echo text >"$mnt/a,b\\c/file"
echo text >"$mnt/$part/$part/$part/file"
umount "$mnt"
for path in 'a,b\c' "$part/$part/$part"; do
    kithfs "$servers:/$path" "$mnt" -o "log=$work/mnt.log" || fail "$path was not mounted"
    lives "$mnt"
    grep " $mnt " /proc/self/mountinfo | grep -q 'fuse.kithfs.*default_permissions' ||
        fail "nobody looks after permissions: $(grep " $mnt " /proc/self/mountinfo)"
    umount "$mnt"
done

say "a mount that takes the place of one that still ends keeps its pid file"
kithfs "$servers:/" "$mnt" -o "log=$work/mnt.log,pid_file=$work/one.pid" || fail "the mount before"
old=$(cat "$work/one.pid")
kill -STOP "$old"
umount -l "$mnt" # it has not seen that yet
kithfs "$servers:/" "$mnt" -o "log=$work/mnt.log,pid_file=$work/one.pid" || fail "the mount after it"
kill -CONT "$old"
wait_for 30 "the mount before to end" gone "$old"
before=$(cat "$work/one.pid") || fail "the pid file went with the mount before"
[ "$before" != "$old" ] && grep -q kithfs "/proc/$before/comm" || fail "the pid file names $before"
umount "$mnt"
wait_for 30 "the last mount to end" gone "$before"
[ ! -e "$work/one.pid" ] || fail "the pid file stays"

say "^C before the mount is there"
for n in 1 2 3; do
    kill -STOP "$(node_pid $n)"
done
setsid env --default-signal=INT kithfs "$servers:/" "$mnt" -o "log=$work/mnt.log,mount_timeout=20" 2>"$work/out.log" &
starter=$!
children() {
    [ "$(ps -o pid= --ppid "$starter" | wc -l)" -gt 0 ]
}
wait_for 10 "the daemon" children
daemon=$(ps -o pid= --ppid "$starter")
kill -INT -- "-$starter"
for n in 1 2 3; do
    kill -CONT "$(node_pid $n)"
done
wait_for 10 "the daemon to end" ended "$daemon"
wait "$starter" && fail "a mount that was interrupted says that it is there"
[ "$(layers "$mnt")" = 0 ] || fail "a mount that was interrupted is there"
pass
