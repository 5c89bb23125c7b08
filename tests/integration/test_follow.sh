#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What one mount does, another shows within two seconds: a log that stays open and grows, to a loop of
# tail and cat and to who has it open (tail -f); names, sizes and modes to loops of stat and ls. And of
# two mounts that append to one file that both have open, both texts are there, in a conflict file.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
/usr/bin/python3 "$here/follow.py" "$mnt" "$other" || fail "another mount's changes"

say "tail -f"
echo begin >"$mnt/log"
wait_for 10 "the log at the other mount" grep -qx begin "$other/log"
tail -n +1 -s 0.1 -f "$other/log" >"$work/tailed" 2>&1 &
tail_pid=$!
exec 7>>"$mnt/log"
for i in 1 2 3; do
    echo "line $i" >&7
    wait_for 10 "line $i in tail -f" grep -qx "line $i" "$work/tailed"
done
exec 7>&-
kill $tail_pid
wait $tail_pid 2>/dev/null || true
cmp "$work/tailed" "$mnt/log" || fail "tail -f showed: $(cat "$work/tailed")"

say "both append to a file that both have open"
both() { # MOUNT: all lines, of the file and of what stands beside it
    [ "$(cat "$1/both" "$1"/both.conflict-* 2>/dev/null | LC_ALL=C sort -u | paste -sd' ')" = \
        "begin first second third" ] &&
        [ "$(find "$1" -maxdepth 1 -name 'both.conflict-*' | wc -l)" = 1 ]
}
echo begin >"$mnt/both"
wait_for 10 "the file at the other mount" grep -qx begin "$other/both"
exec 5>>"$mnt/both" 6>>"$other/both"
echo first >&5
echo second >&6
exec 5>&-
echo third >&6
exec 6>&-
for at in "$mnt" "$other"; do
    wait_for 10 "what both have appended, at $at" both "$at"
done
[ "$(cat "$mnt"/both.conflict-*)" = "$(cat "$other"/both.conflict-*)" ] || fail "not the same beside it"
two_mounts_down
mount_up
both "$mnt" || fail "after a remount: $(ls "$mnt")"
mount_down
pass
