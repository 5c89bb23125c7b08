#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# EINTR is for who wants to end: a timer's signal breaks no program, a killed one goes at once. What a
# close that was interrupted should have stored is read all the same, and stored when that can be.
. "$(dirname "$0")/lib.sh"

fake_up
timeout 100 "$here/interrupt.py" "$mnt" || fail "signals"
show() {
    (cd "$mnt" && tail -n +1 close-*)
}
show >"$work/before"
fake_remount
show | diff "$work/before" - || fail "what was written is not stored"
fake_down
pass
