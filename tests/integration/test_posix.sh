#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What programs expect of a filesystem, on the mount over a cluster in memory (no nodes are
# started).
. "$(dirname "$0")/lib.sh"

for delay in 0 500; do
    fake_up "$delay" allow_other
    "$here/posix.py" "$mnt" || fail "requests that take $delay us"
    "$here/metadata.py" "$mnt" || fail "metadata, requests that take $delay us"
    fake_down
done

# a page's worth of names that went comes before one that is there: listed by a mount that must ask
fake_up
/usr/bin/python3 - "$mnt" <<'END'
import os, sys
for i in range(1500):  # more than KITH_PAGE_ROWS_MAX
    hidden = f"{sys.argv[1]}/.{i:05d}.tmp"
    os.close(os.open(hidden, os.O_CREAT | os.O_WRONLY))
    os.rename(hidden, f"{sys.argv[1]}/x{i % 3}")
os.close(os.open(f"{sys.argv[1]}/z", os.O_CREAT | os.O_WRONLY))
END
fake_remount
[ "$(ls -A "$mnt" | paste -sd' ')" = "x0 x1 x2 z" ] || fail "listed: $(ls -A "$mnt" | head -n 5)"
fake_down
pass
