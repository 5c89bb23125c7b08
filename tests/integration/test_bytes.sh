#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What was written at two mounts at once, and acknowledged, is there afterwards: line by line, in the
# versions of all rows (bytes.py says what may be missing). First with all nodes there, then with one
# after the other killed and started again.
# Only with KITH_BYTES=1: alone it passes, but of several runs side by side some fail, with a read of
# "lines" that is cut or mixed: the kernel has the file's new size before the new contents, or a program
# reads on through a handle whose contents were replaced.
#   KITH_SEED, KITH_SECONDS: another run of it
#   KITH_WORKLOADS: those of "lines over ends" that are run
. "$(dirname "$0")/lib.sh"
need_fuse
[ "${KITH_BYTES:-0}" = 1 ] || skip "needs KITH_BYTES=1"

seed=${KITH_SEED:-1}
seconds=${KITH_SECONDS:-4}
bytes() {
    /usr/bin/python3 "$here/bytes.py" "$@"
}
rows_fit() {
    "$KITH_BIN/tests/integration/fs_rows" "$servers" contents >"$work/rows" 2>"$work/rows.err"
}
# The mounts look at names that they have changed a moment later.
settled() {
    bytes tree "$mnt" >"$work/a" 2>"$work/a.err" && bytes tree "$other" >"$work/b" 2>"$work/b.err" &&
        diff "$work/a" "$work/b" >"$work/diff.log" && rows_fit && bytes shown "$work/rows" "$work/a"
}
# change PART: two processes of "lines" at each mount, one of the others
change() {
    local part=$1 pids="" pid n kind who at
    for kind in $workloads; do
        for n in 1 2 3 4; do
            [ "$kind" = lines ] || [ $n -le 2 ] || continue
            who=$kind${part}_$n
            at=$([ $((n % 2)) = 1 ] && echo "$mnt" || echo "$other")
            bytes "$kind" "$at/$kind$part" "$work/$who.notes" "$seed$part$n" "$seconds" "$who" \
                $((n % 2)) >"$work/$who.log" 2>&1 &
            pids="$pids $!"
        done
    done
    [ "$part" = 1 ] || nodes_fall
    for pid in $pids; do
        wait "$pid" || fail "seed $seed, part $part: $(cat "$work"/*_?.log)"
    done
}
account() {
    bytes account "$work/rows" "$work"/*.notes
}

two_mounts_up
for part in 1 2; do
    [ $part = 1 ] || export FAULTS=1
    workloads=${KITH_WORKLOADS:-lines over ends}
    for kind in $workloads; do
        mkdir "$mnt/$kind$part" "$mnt/$kind$part/d1" "$mnt/$kind$part/d2"
        wait_for 5 "the directories" ls "$other/$kind$part/d1" "$other/$kind$part/d2"
    done
    change $part
    wait_for 30 "two mounts that agree, seed $seed, part $part" settled
    account >"$work/account.log" 2>&1 ||
        fail "seed $seed, part $part: $(cat "$work/account.log" "$work"/*_?.log)"
    say "seed $seed, part $part: $(cat "$work/account.log")"
done
two_mounts_down
grep -hE "given up|stays under|no name now" "$work"/mnt*.log && fail "something was given up"
pass
