#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that is open at one mount while another changes its names (open_elsewhere.py), and while another
# truncates it; over a remount of both the same is there.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
/usr/bin/python3 "$here/open_elsewhere.py" "$mnt" "$other" || fail "names that change elsewhere"

say "a truncate by the name, at the other mount"
versions() { # NAME: the contents of the file and of what stands beside it
    cat "$1" "$1".conflict-* 2>/dev/null | LC_ALL=C sort | paste -sd' '
}
has() { # NAME CONTENTS
    [ "$(versions "$1")" = "$2" ]
}
printf 'text\n' >"$mnt/read"
wait_for 10 "the file at the other mount" grep -qx text "$other/read"
exec 7<"$mnt/read"
truncate -s 0 "$other/read"
wait_for 10 "the truncate to be seen by who opens it" sh -c "[ -z \"\$(cat '$mnt/read')\" ]"
exec 7<&-
printf 'text\n' >"$mnt/clean"
wait_for 10 "the file at the other mount" grep -qx text "$other/clean"
exec 7>>"$mnt/clean"
truncate -s 0 "$other/clean"
wait_for 10 "the truncate to be seen by who opens it" sh -c "[ -z \"\$(cat '$mnt/clean')\" ]"
echo appended >&7
exec 7>&-
wait_for 10 "the append to what is left" has "$other/clean" "appended"
printf 'text\n' >"$mnt/unsent"
wait_for 10 "the file at the other mount" grep -qx text "$other/unsent"
exec 7>>"$mnt/unsent"
/usr/bin/python3 -c 'import os, sys
os.write(7, b"unsent\n") # waits in memory
with open(sys.argv[1], "r+") as f:
    f.truncate(2)
    f.seek(2)
    f.write("\n")
os.write(7, b"more\n")' "$other/unsent"
exec 7>&-
for at in "$mnt" "$other"; do # nobody has seen what the other did: both are there
    wait_for 10 "both at $at" has "$at/unsent" "more te text unsent"
done

find "$mnt" -type f -printf '%P %s %n %i\n' | LC_ALL=C sort >"$work/before"
two_mounts_down
for at in "$mnt" "$other"; do
    mount_up "$at"
    find "$at" -type f -printf '%P %s %n %i\n' | LC_ALL=C sort >"$work/after"
    diff "$work/before" "$work/after" || fail "not the same at $at after a remount"
done
two_mounts_down
pass
