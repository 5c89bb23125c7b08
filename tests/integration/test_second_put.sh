#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A rename across directories is two puts: where the second one is refused it is tried again.
. "$(dirname "$0")/lib.sh"
[ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"

fake=$KITH_BIN/tests/integration/fs_fake
[ -x "$fake" ] || fail "$fake is not built"
"$fake" "$mnt" 200000 >"$work/fake.log" 2>&1 &
child=$!
echo "$child" >"$work/fake.pid"
wait_for 30 "the mount" grep -q '^ready' "$work/fake.log"
mkdir "$mnt/a" "$mnt/b"
echo text >"$mnt/a/f"
kill -USR1 "$child"
mv "$mnt/a/f" "$mnt/b/g" || fail "the rename failed"
[ "$(ls "$mnt/a")" = "" ] || fail "the old name is still there"
[ "$(cat "$mnt/b/g")" = text ] || fail "the new name has other contents"
echo more >>"$mnt/b/g"
fusermount3 -u "$mnt"
wait "$child" || fail "the mount ended with $?: $(tail -n 5 "$work/fake.log")"
rm "$work/fake.pid"
pass
