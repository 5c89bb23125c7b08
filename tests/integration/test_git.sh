#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# git in the mount: a clone of the project itself, fsck, a clean status, and a build of it.
. "$(dirname "$0")/lib.sh"
need_fuse
git -C "$KITH_TOP" rev-parse HEAD >/dev/null 2>&1 || skip "the project is no git checkout here"

cluster_up 3
mount_up
export HOME=$work GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git clone -q --no-local "$KITH_TOP" "$mnt/clone"
git -C "$mnt/clone" fsck --full 2>"$work/fsck.log" || fail "git fsck: $(cat "$work/fsck.log")"
[ -z "$(git -C "$mnt/clone" status --porcelain)" ] || fail "git status is not clean"
say "commit"
echo hello >"$mnt/clone/hello"
git -C "$mnt/clone" add hello
git -C "$mnt/clone" -c user.name=a -c user.email=a@example.org commit -qm "Add hello"
git -C "$mnt/clone" gc -q
git -C "$mnt/clone" fsck --full 2>"$work/fsck.log" || fail "git fsck: $(cat "$work/fsck.log")"
say "build"
cmake -S "$mnt/clone" -B "$mnt/clone/b" -G Ninja -DKITH_TESTS=OFF >"$work/build.log" 2>&1 ||
    fail "cmake: $(tail -n 5 "$work/build.log")"
cmake --build "$mnt/clone/b" >"$work/build.log" 2>&1 || fail "build: $(tail -n 5 "$work/build.log")"
"$mnt/clone/b/kithctl" --version >/dev/null || fail "the program built in the mount does not run"
mount_down
pass
