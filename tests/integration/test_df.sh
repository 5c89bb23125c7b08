#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What df shows: the room in the whole cluster, and what users have stored, once and not N times;
# also of nodes on one disk, and with nodes that are full, down and silent.
. "$(dirname "$0")/lib.sh"
need_fuse

# df_is WHAT FROM TO: in KiB
df_is() {
    local is
    is=$(df -k --output="$1" "$mnt" | tail -n 1)
    [ "$is" -ge "$2" ] && [ "$is" -le "$3" ]
}
shown() {
    df -k "$mnt"
    df -i "$mnt"
}
# df_becomes WHAT FROM TO: figures are refreshed when somebody asks and they are old
df_becomes() {
    wait_for 20 "df to show $1 between $2 and $3 KiB: $(shown)" df_is "$@"
}
# free_of DIR: KiB up to where 95 % are used
free_of() {
    local total free
    total=$(stat -f -c '%b * %S / 1024' "$1")
    free=$(stat -f -c '%a * %S / 1024' "$1")
    echo $((free - total * 5 / 100))
}
# about KIB PERCENT: "FROM TO"
about() {
    echo $(($1 - $1 * $2 / 100)) $(($1 + $1 * $2 / 100))
}
mounted_on() {
    mkdir -p "$1"
    mount -t tmpfs -o "size=$2" tmpfs "$1" 2>/dev/null || skip "no tmpfs can be mounted"
    echo "$1" >"$work/$(basename "$1").mounted"
}
# prompt COMMAND...: within a second
prompt() {
    timeout 1 "$@" >/dev/null || fail "'$*' did not answer at once"
}

say "three nodes on one disk: what is free is shared by three"
cluster_up 3 --cache 64M
nodes_up
mount_up
# at once, and with sane figures: the mount has asked
# shellcheck disable=SC2046
df_is avail $(about $(($(free_of "$dir") / 3)) 5) || fail "avail: $(shown)"
df_is used 0 1024 || fail "used: $(shown)"
python3 - "$mnt" <<'PY' || fail "$(shown)"
import os, sys
v = os.statvfs(sys.argv[1])
assert v.f_bfree == v.f_bavail and v.f_blocks >= v.f_bfree and v.f_ffree > 0, v
assert v.f_namemax == 255 and v.f_frsize == 4096, v
PY
one_file() { # the mount may have asked before the root, which it makes, was counted
    [ "$(df --output=iused "$mnt" | tail -n 1)" -ge 1 ]
}
wait_for 20 "the root to be counted" one_file
head -c 64M /dev/urandom >"$mnt/file"
sync "$mnt/file"
df_becomes used $((64 * 1024)) $((70 * 1024))
inodes=$(df --output=iused "$mnt" | tail -n 1)
mkdir "$mnt/many"
for i in $(seq 200); do echo "$i" >"$mnt/many/$i"; done
sync "$mnt/many/200"
more_files() {
    [ "$(df --output=iused "$mnt" | tail -n 1)" -ge $((inodes + 200)) ]
}
wait_for 20 "200 files more" more_files

say "nodes are killed and frozen: the last figures, at once"
node_kill 3
sleep 6 # so that they are asked for again
shown >/dev/null
df_becomes used $((64 * 1024)) $((70 * 1024))
# shellcheck disable=SC2046
df_is avail $(about $(($(free_of "$dir") / 3)) 10) || fail "avail with one node down: $(shown)"
kill -STOP "$(node_pid 1)" "$(node_pid 2)"
sleep 6
prompt df "$mnt"
sleep 6
prompt df "$mnt"
df_is used $((64 * 1024)) $((70 * 1024)) || fail "used with no node that answers: $(shown)"
kill -CONT "$(node_pid 1)" "$(node_pid 2)"
mount_down
cluster_down
rm -rf "$dir"

say "a cluster of one node"
mkdir -p "$dir"
cluster_up 1 --cache 64M
mount_up
# shellcheck disable=SC2046
df_is avail $(about "$(free_of "$dir")" 5) || fail "avail of one node: $(shown)"
mount_down
cluster_down
rm -rf "$dir"

say "disks of their own: the smallest bounds it, until it is full"
for i in 1 2 3 4; do
    mounted_on "$dir/node$i" $((i == 4 ? 512 : 1024))m
done
cluster_up 4 --cache 64M
nodes_up
mount_up
# shellcheck disable=SC2046
df_is avail $(about $(($(free_of "$dir/node4") * 4 / 3)) 10) || fail "avail by the smallest: $(shown)"
# a small disk's reserve is more than 5 %
fallocate -l "$(stat -f -c '%a %S' "$dir/node4" | awk '{ printf "%d", $1 * $2 * 0.97 }')" \
    "$dir/node4/filler"
# three take all, a copy each
# shellcheck disable=SC2046
df_becomes avail $(about "$(free_of "$dir/node1")" 10)
rm "$dir/node4/filler"
# shellcheck disable=SC2046
df_becomes avail $(about $(($(free_of "$dir/node4") * 4 / 3)) 10)
mount_down
pass
