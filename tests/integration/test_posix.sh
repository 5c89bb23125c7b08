#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What programs expect of a filesystem, on the mount over a cluster in memory (no nodes are
# started).
. "$(dirname "$0")/lib.sh"

for delay in 0 500; do
    fake_up "$delay"
    "$here/posix.py" "$mnt" || fail "requests that take $delay us"
    fake_down
done
pass
