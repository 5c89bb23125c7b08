#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The main job: trees copied in, by cp -a and by tar, are the same after unmounting, stopping the
# whole cluster and starting it again.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up
src=$work/src
mkdir -p "$src"
cp -a /usr/include/linux "$src/include"
cp -a "$KITH_TOP/common" "$src/common"
ln -s ../include/fuse.h "$src/link"
ln "$src/include/fuse.h" "$src/include/hard"
head -c 5000000 /dev/urandom >"$src/big"
truncate -s 10000000 "$src/sparse"
: >"$src/empty"

say "cp -a"
cp -a "$src" "$mnt/copy"
say "tar"
mkdir "$mnt/tar"
tar -C "$src" -cf - . | tar -C "$mnt/tar" -xf -
same_tree "$src" "$mnt/copy"
touch -r "$src" "$mnt/tar"
same_tree "$src" "$mnt/tar"

say "after unmounting and restarting everything"
mount_down
cluster_down
cluster_up 3
mount_up
same_tree "$src" "$mnt/copy"
same_tree "$src" "$mnt/tar"
mount_down
pass
