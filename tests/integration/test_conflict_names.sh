#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that two mounts have written at the same time is renamed or removed, open or not: the
# newest version goes, the other bears the old name from then on, as a file of its own.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
other=$work/mnt2
mount_up
mount_up "$other"

# conflict NAME: it has the versions "theirs" and "mine", of which the second is the newest; SEEN:
# the mount knows that there are two, else it has not put its own yet, which descriptor 7 has
conflict() {
    echo old >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/$1"
    exec 7<>"$mnt/$1"
    echo theirs >"$other/$1"
    echo mine >&7
    [ "$2" = unsent ] || exec 7>&-
    [ "$2" != long ] || sleep 1.2 # the mount's memory is over
}
one_each() { # OLD NEW WHAT
    local at
    for at in "$mnt" "$other"; do
        wait_for 5 "the other version under its old name, after $3" grep -qx theirs "$at/$1"
        wait_for 5 "the newest under its new name, after $3" grep -qx mine "$at/$2"
        [ "$(stat -c %i "$at/$1")" != "$(stat -c %i "$at/$2")" ] || fail "$3: they are one file"
    done
    echo "to $1" >>"$mnt/$1"
    echo "to $2" >>"$mnt/$2"
    sleep 1.1
    for at in "$mnt" "$other"; do
        [ "$(cat "$at/$1")" = "$(printf 'theirs\nto %s' "$1")" ] || fail "$3: $(cat "$at/$1")"
        [ "$(cat "$at/$2")" = "$(printf 'mine\nto %s' "$2")" ] || fail "$3: $(cat "$at/$2")"
    done
    say "$3"
}

mkdir "$mnt/sub"
for seen in long short unsent; do
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
    wait_for 5 "the other version, after rm ($seen)" grep -qx theirs "$mnt/f"
    [ "$(stat -c %i "$mnt/f")" != "$removed" ] || fail "the removed file is back ($seen)"
    echo "to nobody" >&7
    exec 7>&-
    [ "$(cat "$mnt/f")" = theirs ] || fail "the removed file was written: $(cat "$mnt/f")"
    rm "$mnt/f"
    wait_for 5 "the end of both" test ! -e "$other/f"
done
mount_down
mount_down "$other"
pass
