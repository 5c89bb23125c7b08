#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount that is unmounted lazily ends with whoever closes its last files, and in order: also where
# the kernel takes the connection down while a request is being read, as it does in one of five.
. "$(dirname "$0")/lib.sh"
need_fuse

for round in $(seq 25); do
    fake_up
    /usr/bin/python3 - "$mnt" >"$work/files.out" 2>&1 <<'END' &
import os, sys, time
files = [os.open("%s/f%d" % (sys.argv[1], i), os.O_RDWR | os.O_CREAT) for i in range(300)]
print("open", flush=True)
time.sleep(60)
END
    user=$!
    wait_for 20 "the files" grep -q open "$work/files.out"
    fusermount3 -uz "$mnt"
    kill -KILL $user
    wait $user 2>/dev/null || true
    wait "$fake_pid" || fail "round $round: the mount ended with $?: $(tail -n 15 "$fake_log")"
    rm "$work/fake.pid" "$work/fake.in"
done
pass
