#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that two mounts have written at the same time is renamed or removed, open or not: the
# newest version goes, the other bears the old name from then on, as a file of its own.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up

# conflict NAME SEEN: it has the versions "theirs" and "mine", of which the second is the newest;
# SEEN says how the mount knows that there are two: it has "read" so, or was "told" so when it put
# its own; or it has not put its own yet, which descriptor 7 has ("unsent")
conflict() {
    echo old >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/$1"
    exec 7<>"$mnt/$1"
    echo theirs >"$other/$1"
    echo mine >&7
    [ "$2" = unsent ] || exec 7>&-
    [ "$2" != read ] || read_again "$1"
}
holds() {
    [ "$(cat "$1")" = "$2" ]
}
one_each() { # OLD NEW WHAT
    local at
    for at in "$mnt" "$other"; do
        wait_for 10 "the other version under its old name, after $3" grep -qx theirs "$at/$1"
        wait_for 10 "the newest under its new name, after $3" grep -qx mine "$at/$2"
        [ "$(stat -c %i "$at/$1")" != "$(stat -c %i "$at/$2")" ] || fail "$3: they are one file"
    done
    echo "to $1" >>"$mnt/$1"
    echo "to $2" >>"$mnt/$2"
    wait_for 10 "what was added to $1, after $3" holds "$other/$1" "$(printf 'theirs\nto %s' "$1")"
    wait_for 10 "what was added to $2, after $3" holds "$other/$2" "$(printf 'mine\nto %s' "$2")"
    read_again "$1" "$2"
    holds "$mnt/$1" "$(printf 'theirs\nto %s' "$1")" || fail "$3: $(cat "$mnt/$1")"
    holds "$mnt/$2" "$(printf 'mine\nto %s' "$2")" || fail "$3: $(cat "$mnt/$2")"
    say "$3"
}

mkdir "$mnt/sub"
for seen in read told unsent; do
    for to in to sub/to; do
        conflict f $seen
        mv "$mnt/f" "$mnt/$to"
        exec 7>&-
        one_each f $to "mv f $to ($seen)"
        rm "$mnt/f" "$mnt/$to"
    done
    conflict f $seen
    [ $seen != unsent ] || { exec 7>&-; }
    removed=$(stat -c %i "$mnt/f")
    exec 7<>"$mnt/f"
    rm "$mnt/f"
    wait_for 10 "the other version, after rm ($seen)" grep -qx theirs "$mnt/f"
    [ "$(stat -c %i "$mnt/f")" != "$removed" ] || fail "the removed file is back ($seen)"
    echo "to nobody" >&7
    exec 7>&-
    [ "$(cat "$mnt/f")" = theirs ] || fail "the removed file was written: $(cat "$mnt/f")"
    rm "$mnt/f"
    wait_for 10 "the end of both" test ! -e "$other/f"
done
two_mounts_down
pass
