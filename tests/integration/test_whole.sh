#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What one write(2) has written is stored in one piece, though the kernel hands it over in two and the
# file is closed by somebody else in between (whole.py).
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
status=0
/usr/bin/python3 "$here/whole.py" "$mnt" "$other" || status=$?
[ $status != 77 ] || skip "needs userfaultfd"
[ $status = 0 ] || fail "in pieces"
two_mounts_down
pass
