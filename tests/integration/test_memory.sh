#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# 100,000 files: no node needs more than 150 MiB above its cache after they were made, the mount no
# more than 200 MiB after they were walked. Only with KITH_FULL=1: it takes some minutes.
. "$(dirname "$0")/lib.sh"
need_fuse
[ "${KITH_FULL:-0}" = 1 ] || skip "needs KITH_FULL=1"

# resident PID: MiB
resident() {
    awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$1/status"
}

# A cache that these files fill: with a larger one the bound would hold whatever a node wasted.
cache=128
cluster_up 3 --cache ${cache}M
mount_up "$mnt" "pid_file=$work/kithfs.pid"
say "making 100,000 files"
/usr/bin/python3 - "$mnt" <<'MAKE'
import multiprocessing, os, sys

def make(top):
    os.mkdir(top)
    for i in range(1000):
        fd = os.open(f"{top}/file-{i:03}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b"%064d" % i * (1 + i % 64))
        os.close(fd)

with multiprocessing.Pool(4) as pool:
    pool.map(make, [f"{sys.argv[1]}/d{d:02}" for d in range(100)], chunksize=1)
MAKE
for n in 1 2 3; do
    tr '\0' ' ' <"/proc/$(node_pid $n)/cmdline" | grep -q -- "--cache ${cache}M " ||
        fail "node$n does not run with a cache of $cache MiB"
    used=$(resident "$(node_pid $n)")
    say "node$n: $used MiB, of them at most $cache cache"
    [ "$used" -le $((cache + 150)) ] || fail "node$n takes $used MiB with a cache of $cache"
done
walk() {
    local count used
    count=$(find "$mnt" -type f -size -5k -printf '%p %s %T@\n' | wc -l)
    [ "$count" = 100000 ] || fail "$count of 100,000 files were found"
    used=$(resident "$(cat "$work/kithfs.pid")")
    say "kithfs: $used MiB"
    [ "$used" -le 200 ] || fail "kithfs takes $used MiB after a walk"
}
say "walking them in the mount that made them"
walk
mount_down
mount_up "$mnt" "pid_file=$work/kithfs.pid"
say "walking them in a fresh mount"
walk
mount_down
pass
