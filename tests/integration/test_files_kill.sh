#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# One node killed with SIGKILL in the middle of a copy and started again: no error, no difference;
# then each other node down in turn, so that nothing stands on one copy only.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up
src=$work/src
mkdir -p "$src"
cp -a /usr/include/linux "$src/include"
head -c 20000000 /dev/urandom >"$src/big"

copied() {
    [ "$(find "$mnt/copy" -type f 2>/dev/null | wc -l)" -gt "$1" ]
}
cp -a "$src" "$mnt/copy" 2>"$work/cp.log" &
cp_pid=$!
wait_for 60 "the copy to be under way" copied 50
say "killing node2"
node_kill 2
wait_for 60 "the copy to go on" copied 200
say "starting node2"
cluster_up 3
wait $cp_pid || fail "cp failed: $(cat "$work/cp.log")"
[ ! -s "$work/cp.log" ] || fail "cp said: $(cat "$work/cp.log")"
same_tree "$src" "$mnt/copy"
mount_down
for n in 1 2 3; do
    say "read back with node$n dead"
    node_kill $n
    mount_up
    same_tree "$src" "$mnt/copy"
    mount_down
    cluster_up 3
done
pass
