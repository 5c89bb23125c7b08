#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What programs expect of a filesystem, on the mount over a cluster in memory (no nodes are started).
. "$(dirname "$0")/lib.sh"
[ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"

fake=$KITH_BIN/tests/integration/fs_fake
[ -x "$fake" ] || fail "$fake is not built"
for delay in 0 500; do
    "$fake" "$mnt" "$delay" >"$work/fake.log" 2>&1 &
    child=$!
    echo "$child" >"$work/fake.pid"
    wait_for 10 "the mount" grep -q '^ready' "$work/fake.log"
    "$here/posix.py" "$mnt" || fail "requests that take $delay us"
    fusermount3 -u "$mnt"
    wait "$child" || fail "the mount ended with $?: $(tail -n 5 "$work/fake.log")"
    rm "$work/fake.pid"
done
pass
