#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Changes of names whose put was carried out, or not, without an answer: the put goes again under
# the same request id, so that the change succeeds, the cluster has what the mount says, and what is
# written afterwards is no conflict.
. "$(dirname "$0")/lib.sh"

prepare() { # DIR: f, g and h are names of one file, a and b are files of their own
    mkdir "$1" "$1/sub" "$1/empty"
    echo text >"$1/f"
    ln "$1/f" "$1/g"
    echo a >"$1/a"
    echo b >"$1/b"
}
# The changes: how many puts each takes, what is done, and the names with what they hold afterwards.
change_rename="1 mv a c : b=b c=a empty/ f=text g=text sub/"
change_over="1 mv a b : b=a empty/ f=text g=text sub/"
change_across="2 mv a sub/c : b=b empty/ f=text g=text sub/ sub/c=a"
change_remove="1 rm a : b=b empty/ f=text g=text sub/"
change_rmdir="2 rmdir empty : a=a b=b f=text g=text sub/"
change_link="1 ln a c : a=a b=b c=a empty/ f=text g=text sub/"
change_more="1 ln f h : a=a b=b empty/ f=text g=text h=text sub/"
change_last="1 rm g : a=a b=b empty/ f=text sub/"
change_move="1 mv f h : a=a b=b empty/ g=text h=text sub/"
change_out="4 ln f sub/h : a=a b=b empty/ f=text g=text sub/ sub/h=text"
change_swap="1 exchange a b : a=b b=a empty/ f=text g=text sub/"
change_swap2="1 exchange a f : a=text b=b empty/ f=a g=text sub/"
changes="rename over across remove rmdir link more last move out swap swap2"

shown() { # DIR
    (cd "$1" && find . -mindepth 1 | sort | sed 's|^\./||' | while read -r name; do
        if [ -d "$name" ]; then
            printf '%s/ ' "$name"
        else
            printf '%s=%s ' "$name" "$(head -n 1 "$name")"
        fi
    done)
}
# change NAME HOW AT: in a directory of its own; the AT-th of its puts gets no answer
change() {
    local words dir=$mnt/$1-$2-$3
    read -ra words <<<"$(eval "echo \$change_$1" | sed 's/^[0-9]* //; s/ :.*//')"
    prepare "$dir"
    fake_fault "$2" "$3" 1
    (cd "$dir" && "${words[@]}") || fail "${words[*]}, put $3, $2: failed"
}
# written DIR: through each file of it
written() {
    local name
    for name in $(cd "$1" && find . -type f); do
        echo more >>"$1/$name" || fail "$1/$name cannot be written"
    done
}
check() {
    local dir=$mnt/$1-$2-$3 want
    want=$(eval "echo \$change_$1" | sed 's/.* : //')
    [ "$(shown "$dir")" = "$want " ] || fail "$1, put $3, $2: $(shown "$dir")"
}
all() { # FUNCTION: with each change, each of its puts, carried out or not
    local name at
    for name in $changes; do
        for at in $(seq 0 $(($(eval "echo \$change_$name" | cut -d' ' -f1) - 1))); do
            "$1" "$name" lose "$at"
            "$1" "$name" drop "$at"
        done
    done
}
# run OPTIONS WHAT [AGAIN]: with AGAIN another mount, which has read what is there, writes to it
run() {
    fake_up 0 "$1"
    all change
    all check
    if [ -n "${3:-}" ]; then
        fake_remount
        all check
    fi
    for dir in "$mnt"/*; do
        written "$dir"
    done
    fake_remount
    all check
    # more than one attempt
    prepare "$mnt/often"
    fake_fault drop 0 3
    mv "$mnt/often/a" "$mnt/often/c"
    fake_fault lose 0 3
    rm "$mnt/often/g"
    fake_fault drop 1 3
    mv "$mnt/often/c" "$mnt/often/sub/c"
    [ "$(shown "$mnt/often")" = "b=b empty/ f=text sub/ sub/c=a " ] ||
        fail "often: $(shown "$mnt/often")"
    fake_down
    grep -qx 'conflicts 0' "$fake_log" ||
        fail "the mount made a conflict with itself: $(tail -n 1 "$fake_log")"
    say "$2"
}
run entry_timeout=600,attr_timeout=600 "what the mount remembers is written"
run entry_timeout=600,attr_timeout=600 "what another mount has read is written" again
run nowatch,entry_timeout=0,attr_timeout=0 "the mount remembers nothing and reads each time"
pass
