#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Names of any bytes, far times, the most and the largest extended attributes, files of a tebibyte,
# hard links, conflict files: names, inode numbers, link counts, times, blocks, contents and what du
# says are the same at another mount, over a remount, and when the whole cluster was started again.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
mkdir "$mnt/d" "$mnt/d/conflict"
/usr/bin/python3 "$here/stays.py" make "$mnt/d" || fail "not all can be made"
beside() { # MOUNT COUNT
    [ "$(find "$1/d/conflict" -name '*.conflict-*' | wc -l)" = "$2" ]
}
echo old >"$mnt/d/conflict/file"
ln "$mnt/d/conflict/file" "$mnt/d/conflict/second"
echo old >"$mnt/d/conflict/large"
for name in file large; do
    wait_for 10 "the other mount to see $name" grep -qx old "$other/d/conflict/$name"
    exec 7<>"$mnt/d/conflict/$name"
    [ $name = file ] && echo theirs >"$other/d/conflict/$name"
    [ $name = file ] || head -c 300000 /dev/urandom >"$other/d/conflict/$name"
    echo mine >&7
    exec 7>&-
done
wait_for 10 "the versions beside them" beside "$mnt" 3 # one of them under two names
wait_for 10 "the versions at the other mount" beside "$other" 3
sync "$mnt/d"

tell() { # MOUNT FILE
    /usr/bin/python3 "$here/stays.py" tell "$1/d" "$work/$2"
}
same() { # MOUNT: as at first
    tell "$1" now && cmp -s "$work/first" "$work/now"
}
differs() {
    diff "$work/first" "$work/now" | cut -c1-300 | head -n 20
}
# a directory's time and link count are told two seconds after a change
counted() {
    tell "$mnt" first && same "$mnt" && same "$other"
}
(wait_for 20 "both mounts to tell the same" counted) || fail "$(differs)"
[ "$(wc -l <"$work/first")" -gt 1000 ] || fail "that is too little: $(wc -l <"$work/first") lines"
start=$SECONDS
for at in "$other" "$mnt"; do
    mount_down "$at"
    mount_up "$at"
    (wait_for 10 "the same after a remount" same "$at") || fail "$(differs)"
done
two_mounts_down
cluster_down
cluster_up 3
mount_up
(wait_for 10 "the same after everything was started again" same "$mnt") || fail "$(differs)"
say "$(wc -l <"$work/first") lines told five times, $((SECONDS - start)) s"
mount_down
pass
