#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# EINTR is for who wants to end: a timer's signal breaks no program, a killed one goes at once.
. "$(dirname "$0")/lib.sh"
[ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"

fake=$KITH_BIN/tests/integration/fs_fake
[ -x "$fake" ] || fail "$fake is not built"
"$fake" "$mnt" 800000 >"$work/fake.log" 2>&1 &
child=$!
echo "$child" >"$work/fake.pid"
wait_for 30 "the mount" grep -q '^ready' "$work/fake.log"
"$here/interrupt.py" "$mnt" || fail "signals"
fusermount3 -u "$mnt"
wait "$child" || fail "the mount ended with $?: $(tail -n 5 "$work/fake.log")"
rm "$work/fake.pid"
pass
