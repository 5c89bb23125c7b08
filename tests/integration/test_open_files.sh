#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Files that are open, with something unsent, while their names change: what is written lands in the
# file that was opened and under no other name, and what was removed does not come back: while it is
# open, when it was stored, and for a mount that comes later (open_files.py).
. "$(dirname "$0")/lib.sh"

for delay in 0 300; do
    fake_up "$delay"
    /usr/bin/python3 "$here/open_files.py" make "$mnt" "$work/wanted" ||
        fail "requests that take $delay us"
    fake_remount
    /usr/bin/python3 "$here/open_files.py" check "$mnt" "$work/wanted" ||
        fail "after a remount, requests that take $delay us"
    fake_down
done
pass
