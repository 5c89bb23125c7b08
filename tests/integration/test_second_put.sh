#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A rename across directories is two puts: where the second one is refused it is tried again.
. "$(dirname "$0")/lib.sh"

fake_up 200000
mkdir "$mnt/a" "$mnt/b"
echo text >"$mnt/a/f"
kill -USR1 "$fake_pid"
mv "$mnt/a/f" "$mnt/b/g" || fail "the rename failed"
[ "$(ls "$mnt/a")" = "" ] || fail "the old name is still there"
[ "$(cat "$mnt/b/g")" = text ] || fail "the new name has other contents"
echo more >>"$mnt/b/g"
fake_down
pass
