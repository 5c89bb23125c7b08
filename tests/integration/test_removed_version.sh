#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two mounts give one name to two files at once, neither of which has seen the other's: the newer one
# bears it, and the other stands beside it. When the newer one is removed the other stays there, and
# is there once: whether the removed file had another name in its directory, in another one, or none.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up "$mnt" nowatch,entry_timeout=60
mount_up "$other" nowatch
versions() { # PATH: how many its row has
    "$KITH_BIN/tests/integration/fs_rows" "$servers" contents | grep -c "^version $1 "
}
# once MOUNT: one file has the older contents, under a name of its own
once() {
    [ ! -e "$1/name" ] && [ "$(grep -slx under "$1"/* | wc -l)" = 1 ] &&
        grep -qsx under "$1"/name.conflict-*
}
for second in none b sub/b; do
    dir=d.${second//\//-}
    mkdir -p "$mnt/$dir/sub"
    echo older >"$mnt/$dir/name"
    echo newer >"$mnt/$dir/a"
    [ $second = none ] || ln "$mnt/$dir/a" "$mnt/$dir/$second"
    wait_for 10 "the older file at the other mount" grep -qx older "$other/$dir/name"
    echo under >"$other/$dir/name" # which $mnt does not ask for; nor does rename, where mv would
    /usr/bin/python3 -c "import os, sys; os.rename(*sys.argv[1:])" "$mnt/$dir/a" "$mnt/$dir/name"
    wait_for 10 "the newer file" grep -qx newer "$other/$dir/name"
    [ "$(versions "/$dir/name")" = 2 ] || fail "second name $second: the older one is not under it"
    rm "$mnt/$dir/name"
    wait_for 10 "the older file, second name $second" once "$other/$dir"
    once "$mnt/$dir" || fail "second name $second: it is not there where it was removed"
    [ "$(versions "/$dir/name")" = 0 ] || fail "second name $second: the older one is there twice"
    [ $second = none ] || grep -qx newer "$other/$dir/$second" || fail "the second name"
done
two_mounts_down
pass
