#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Changes of names that take more than one put, where one of them is refused, and what is put next
# to mend that is refused, too. Either the change happened or it did not; in the end, by the mount's
# own doing, the cluster has the same rows as after the undisturbed change, or as before.
. "$(dirname "$0")/lib.sh"

fake_up
prepare() { # DIR: f and g are names of one file, p and sub/q of another, whose row has a group
    mkdir "$1" "$1/sub" "$1/empty" "$1/dir"
    echo linked >"$1/f"
    ln "$1/f" "$1/g"
    echo far >"$1/p"
    ln "$1/p" "$1/sub/q"
    echo a >"$1/a"
}
changes=(
    "mv a g" "mv a p" "mv p r" "mv p sub/r" "mv p g" "mv f sub/r" "mv p a" "mv f sub/q"
    "ln f sub/h" "ln p r" "ln a sub/h" "rm p" "rmdir empty" "mv -T dir empty" "exchange a p"
    "exchange f p" "mkdir new"
)
state() { # DIR: each name with what it leads to
    (cd "$1" && find . -mindepth 1 | sort | while read -r name; do
        [ -d "$name" ] && echo "$name/" || echo "$name $(cat "$name")"
    done)
}
counts_links() { # DIR: each file's link count is how many names it has
    local file
    for file in $(find "$1" -type f); do
        [ "$(stat -c %h "$file")" = "$(find "$1" -samefile "$file" | wc -l)" ] || return 1
    done
}
# files_and_marks: of the row counts; an inode may have moved to a group of its own, with the names
# that it had
files_and_marks() {
    fake_rows
    read -r files _ marks <<<"$rows"
}
are_now() { # FILES MARKS
    files_and_marks
    [ "$files $marks" = "$1 $2" ]
}
n=0
for change in "${changes[@]}"; do
    dir=$mnt/u$n
    prepare "$dir"
    before_state=$(state "$dir")
    files_and_marks
    was_files=$files was_marks=$marks
    (cd "$dir" && $change) || fail "$change, undisturbed"
    files_and_marks
    more_files=$((files - was_files)) more_marks=$((marks - was_marks))
    done_state=$(state "$dir")
    failed=""
    for at in 0 1 2 3; do
        for count in 1 3; do
            dir=$mnt/d$n-$at-$count
            prepare "$dir"
            files_and_marks
            fake_fault refuse "$at" "$count"
            if (cd "$dir" && $change) 2>/dev/null; then
                files=$((files + more_files)) marks=$((marks + more_marks))
            else
                failed="$failed $dir "
            fi
            what="$change, put $at refused $count times"
            wait_for 10 "$files rows of files and $marks marks after $what" are_now $files $marks
            fake_fault refuse 0 0
        done
    done
    [ -n "$failed" ] || fail "$change is never disturbed"
    fake_remount
    for dir in "$mnt"/d$n-*; do
        what="$change, put ${dir##*d$n-} (put, refusals)"
        want=$done_state
        [[ $failed != *" $dir "* ]] || want=$before_state
        [ "$(state "$dir")" = "$want" ] || fail "$what: $(state "$dir")"
        counts_links "$dir" || fail "$what: a file's link count is wrong"
    done
    n=$((n + 1))
done
fake_down
pass
