#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two mounts change the same few names at once: write, rename, link, unlink, append; first with all
# nodes there, then with one after the other killed and started again. Afterwards both have the same
# names, each of which can be read, with a link count that is right; no row of a file is without a
# name nor a name without its row; all can be removed, and the mounts end at once.
#   KITH_SEED, KITH_SECONDS: another run of it
. "$(dirname "$0")/lib.sh"

seed=${KITH_SEED:-1}
seconds=${KITH_SECONDS:-4}
names() {
    /usr/bin/python3 "$here/names.py" "$@"
}
rows_fit() {
    "$KITH_BIN/tests/integration/fs_rows" "$servers" >"$work/rows.log" 2>&1
}
# The mounts look at what they have changed a moment later, and ask for names again after a second.
settled() {
    names check "$mnt" >"$work/a" 2>"$work/a.log" && names check "$other" >"$work/b" 2>"$work/b.log" &&
        diff "$work/a" "$work/b" >"$work/diff.log" && rows_fit
}
# told: what the mounts and the owners say, when all waiting is over
told() {
    local name
    set +e
    for name in $(sed -n 's/^[<>] //p' "$work/diff.log"
        sed -n 's/^dangling \([^ ]*\) .*/d1\/\1 d2\/\1/p' "$work/rows.log"); do
        echo "---- $name: by the mounts, and by its owners"
        stat -c '%n inode %i, %h names, %s bytes, changed %z' "$mnt/$name" "$other/$name" 2>&1
        kv explain "/$name" 2>&1
    done
    echo "---- the rows in the cluster"
    rows_fit
    cat "$work/rows.log"
    echo "---- names by a mount that has just begun"
    mount_up "$work/mnt3"
    names check "$work/mnt3"
}
# stress PART: four processes at two mounts
stress() {
    local pids="" pid n
    for n in 1 2 3 4; do
        names change "$([ $n -le 2 ] && echo "$mnt" || echo "$other")" "$seed$1$n" "$seconds" \
            >"$work/change.$n.log" 2>&1 &
        pids="$pids $!"
    done
    [ "$1" = 1 ] || nodes_fall
    for pid in $pids; do
        wait "$pid" || fail "seed $seed, part $1: $(cat "$work"/change.*.log)"
    done
}

cluster_up 3
other=$work/mnt2
mount_up
mount_up "$other"
for part in 1 2; do
    [ $part = 1 ] || export FAULTS=1
    mkdir "$mnt/d1" "$mnt/d2"
    wait_for 5 "the directories" ls "$other/d1" "$other/d2"
    stress $part
    (wait_for 30 "names that fit, seed $seed, part $part" settled) || { told; exit 1; }
    names remove "$mnt" || fail "seed $seed, part $part: names cannot be removed"
    wait_for 10 "no rows left behind, seed $seed, part $part" rows_fit
    wait_for 10 "nothing left on the other mount" sh -c "! ls '$other/d1' '$other/d2'"
done
pids=$(cat "$work"/mnt*.serving)
start=$SECONDS
umount "$mnt" "$other"
[ $((SECONDS - start)) -le 3 ] || fail "umount took $((SECONDS - start)) s"
for pid in $pids; do
    wait_for 30 "the processes of the mounts to end" gone "$pid"
done
grep -hE "given up|stays under|no name now" "$work"/mnt*.log && fail "something was given up"
pass
