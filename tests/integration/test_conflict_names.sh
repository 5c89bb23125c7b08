#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that two mounts have written at the same time is renamed or removed, open or not: the
# newest version goes. The other stays beside, as a file of its own, where this mount has shown it there;
# else it bears the old name from then on.
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
# where_is MOUNT NAME: where the other version is
where_is() {
    local name
    for name in "$1/$2" "$1/$2".conflict-*; do
        if grep -qsx theirs "$name"; then
            printf '%s\n' "${name#"$1/"}"
            return
        fi
    done
    return 1
}
one_each() { # OLD NEW WHAT SEEN
    local at left
    for at in "$mnt" "$other"; do
        wait_for 10 "the other version, after $3" where_is "$at" "$1"
        wait_for 10 "the newest under its new name, after $3" grep -qx mine "$at/$2"
        left=$(where_is "$at" "$1")
        [ "$(stat -c %i "$at/$left")" != "$(stat -c %i "$at/$2")" ] || fail "$3: they are one file"
        if [ "$4" != unsent ]; then # it was shown beside the file, and stays there
            [ "$left" != "$1" ] || fail "$3: it has taken over the name"
            wait_for 10 "the end of the old name, after $3" test ! -e "$at/$1"
        fi
    done
    echo "to $1" >>"$mnt/$left"
    echo "to $2" >>"$mnt/$2"
    wait_for 10 "what was added to $left, after $3" holds "$other/$left" \
        "$(printf 'theirs\nto %s' "$1")"
    wait_for 10 "what was added to $2, after $3" holds "$other/$2" "$(printf 'mine\nto %s' "$2")"
    read_again "$left" "$2"
    holds "$mnt/$left" "$(printf 'theirs\nto %s' "$1")" || fail "$3: $(cat "$mnt/$left")"
    holds "$mnt/$2" "$(printf 'mine\nto %s' "$2")" || fail "$3: $(cat "$mnt/$2")"
    say "$3"
    rm "$mnt/$left" "$mnt/$2"
}

mkdir "$mnt/sub"
for seen in read told unsent; do
    for to in to sub/to; do
        conflict f $seen
        mv "$mnt/f" "$mnt/$to"
        exec 7>&-
        one_each f $to "mv f $to ($seen)" $seen
    done
    conflict f $seen
    [ $seen != unsent ] || { exec 7>&-; }
    removed=$(stat -c %i "$mnt/f")
    exec 7<>"$mnt/f"
    rm "$mnt/f"
    wait_for 10 "the other version, after rm ($seen)" where_is "$mnt" f
    left=$(where_is "$mnt" f)
    [ "$(stat -c %i "$mnt/$left")" != "$removed" ] || fail "the removed file is back ($seen)"
    echo "to nobody" >&7
    exec 7>&-
    [ "$(cat "$mnt/$left")" = theirs ] || fail "the removed file was written: $(cat "$mnt/$left")"
    [ $seen = unsent ] || [ ! -e "$mnt/f" ] || fail "it has taken over the name ($seen)"
    rm "$mnt/$left"
    wait_for 10 "the end of both" test ! -e "$other/$left"
done
two_mounts_down
pass
