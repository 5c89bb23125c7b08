#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# .kith with real nodes: what status says of nodes that are killed and frozen, a write that is cut off,
# files in conflict as kithctl tells them, and everything at once when no node is left.
# test_control.sh has what needs no nodes.
. "$(dirname "$0")/lib.sh"
need_fuse

kith=$mnt/.kith
cluster_up 3
mount_up "$mnt" "allow_other,op_timeout=3"
mount_up "$other"

status_has() { # REGEXP
    grep -qE "$1" "$kith/status"
}
at_once() { # COMMAND...: within two seconds; its output
    timeout 2 "$@" || fail "$*: $?" >&2
}
address() { # NODE
    cat "$dir/node$1/address"
}

# as they are: all of them, by the addresses under which they are known
for n in 1 2 3; do
    wait_for 10 "node $n to be up" status_has "^UP +[0-9a-f]{8} +$(address $n) "
done
status_has "^3 of 3 nodes can be reached\.$" || fail "$(cat "$kith/status")"
status_has "^Options   allow_other,op_timeout=3,.*,log=" || fail "$(cat "$kith/status")"
status_has "^Writes    wait in memory" || fail "$(cat "$kith/status")"
grep -q "^kithfs_node_up{node=\"$(address 1)\",zone=\"\"} 1$" "$kith/stats" || fail "$(cat "$kith/stats")"

# who may look at what
mkdir "$mnt/d"
chmod 755 "$mnt" "$work"
as_nobody() {
    setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
as_nobody grep -q "^kithfs " "$kith/status" || fail "status for others"
as_nobody grep -q "^kithfs_info" "$kith/stats" || fail "stats for others"
! as_nobody cat "$kith/conflicts" 2>/dev/null || fail "others may read conflicts"
! as_nobody cat "$kith/accesslog" 2>/dev/null || fail "others may read the log"

# files in conflict: as kithctl tells them, at the root and in a mount of a directory
[ "$(cat "$kith/conflicts")" = "No file is in conflict." ] || fail "$(cat "$kith/conflicts")"
others() { # FILE COUNT: so many versions beside it
    [ "$(find "$mnt/$(dirname "$1")" -maxdepth 1 -name "$(basename "$1").conflict-*" | wc -l)" = "$2" ]
}
conflict() { # FILE
    echo old >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/$1"
    exec 7<>"$mnt/$1"
    echo "theirs, longer" >"$other/$1"
    echo mine >&7
    exec 7>&-
    wait_for 10 "another version beside $1" others "$1" 1
}
mkdir -p "$mnt/d/e"
wait_for 10 "the directories at the other mount" test -d "$other/d/e"
conflict d/e/plan.odt
conflict "d/with blank"
kithctl conflicts "$mnt" >"$work/told" || true
head -n 3 "$work/told" >"$work/want" # without the hints
cat "$kith/conflicts" >"$work/have"
[ "$(sort "$work/have")" = "$(sort "$work/want")" ] || fail "conflicts: $(cat "$work/have")"
[ "$(wc -l <"$work/have")" = 3 ] || fail "conflicts: $(cat "$work/have")"
below=$work/mnt-below
mkdir "$below"
kithfs "$servers:/d" "$below" -o "log=$work/below.log" || fail "a mount of the directory"
grep -q "^e/plan.odt  *2  " "$below/.kith/conflicts" || fail "$(cat "$below/.kith/conflicts")"
umount "$below"

# a stored directory of the name is hidden at the root of a mount, and there with nocontrol
kithfs "$servers:/" "$below" -o "log=$work/below.log,nocontrol" || fail "a mount with nocontrol"
mkdir "$below/.kith" && echo real >"$below/.kith/file"
[ "$(ls -A "$below")" = ".kith
d" ] || fail "$(ls -A "$below")"
umount "$below"
for i in 1 2; do # from the cluster, and from memory
    [ "$(ls -A "$mnt")" = d ] || fail "$i: $(ls -A "$mnt")"
    [ "$(ls "$kith" | wc -l)" = 4 ] || fail "$i: $(ls "$kith")"
done

# (one whose requests fail before anybody loses patience)
kithfs "$servers:/" "$below" -o "log=$work/below.log,op_timeout=0.1" || fail "a third mount"
stat "$below" >/dev/null

# one is killed, another frozen
node_kill 3
wait_for 10 "node 3 to be down" status_has "^DOWN +[0-9a-f]{8} +$(address 3) .*(refused|closed|reset|lost)"
status_has "^2 of 3 nodes can be reached. See: kithctl status --servers " || fail "$(cat "$kith/status")"
kill -STOP "$(node_pid 2)"
silent() {
    stat "$mnt/d/nothing$RANDOM" 2>/dev/null
    status_has "^SILENT +[0-9a-f]{8} +$(address 2) "
}
wait_for 20 "node 2 to be silent" silent
at_once cat "$kith/stats" >"$work/stats"
grep -q "^kithfs_node_up{node=\"$(address 2)\",zone=\"\"} 0$" "$work/stats" || fail "$(cat "$work/stats")"

# none is left: a write that is cut off is told with its path, and all is told at once
# (a program of its own holds the file: each that inherits it would flush it when it ends)
mkfifo "$work/go" "$work/end"
/usr/bin/python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
open(sys.argv[2]).read()
try:
    os.write(fd, b"cut off")
    os.fsync(fd)
except OSError:
    pass
open(sys.argv[3]).read()' "$mnt/d/before" "$work/go" "$work/end" &
holder=$!
echo $holder >"$work/holder.pid" # cleanup ends it
wait_for 10 "the file to be made" test -e "$mnt/d/before"
kill -STOP "$(node_pid 1)"
for n in 1 2; do
    kill -KILL "$(node_pid $n)"
done
wait_for 10 "all to be down" status_has "^0 of 3 nodes can be reached"
echo >"$work/go"
wait_for 20 "the write under status" status_has "^/d/before +20[0-9-]+T[0-9:]+Z \(.*\) +[0-9]+ +[A-Z].*"
at_once ls -la "$kith" >/dev/null
at_once cat "$kith/status" >/dev/null
at_once cat "$below/.kith/status" >/dev/null
! ls "$below" >/dev/null 2>&1 || fail "a directory was read without a node"
at_once cat "$kith/stats" >"$work/stats"
grep -q '^kithfs_unput_files 1$' "$work/stats" || fail "stats: $(cat "$work/stats")"
if timeout 30 cat "$kith/conflicts" >"$work/have" 2>"$work/error"; then
    fail "conflicts without a node: $(cat "$work/have")"
fi
[ ! -s "$work/have" ] || fail "told without having been read: $(cat "$work/have")"
grep -qE "Input/output error|timed out" "$work/error" || fail "conflicts: $(cat "$work/error")"
timeout 60 cat "$kith/accesslog" >"$work/log" &
reader=$!
logged() {
    ls "$kith" >/dev/null
    stat "$mnt" >/dev/null
    timeout 10 stat "$mnt/d/x$RANDOM" 2>/dev/null
    grep -qE " (lookup|getattr) /d[^ ]* = (EIO|ETIMEDOUT) [0-9]" "$work/log"
}
wait_for 60 "what failed in the log" logged
kill $reader
wait $reader 2>/dev/null || true

umount "$below"

# they are back, and the write is stored
cluster_up 3
not_told() {
    ! grep -q "NOT STORED" "$kith/status"
}
wait_for 30 "the write to be stored" not_told
echo >"$work/end"
rm "$work/holder.pid"
wait $holder || true # what close says is of no matter here
wait_for 30 "all to be up" status_has "^3 of 3 nodes can be reached"
[ "$(cat "$other/d/before")" = "cut off" ] || fail "the write: $(cat "$other/d/before")"
two_mounts_down
pass
