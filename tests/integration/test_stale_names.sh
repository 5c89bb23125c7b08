#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file over which another was renamed is still among its inode's names when the second put of that
# rename was refused: the other file is not taken for a name of it when the inode moves.
. "$(dirname "$0")/lib.sh"

fake_up 100000

# overwritten DIR: a is one of two names of a file; the other, b, is another file now
overwritten() {
    mkdir "$mnt/$1" "$mnt/$1/sub"
    echo linked >"$mnt/$1/a"
    ln "$mnt/$1/a" "$mnt/$1/b"
    echo other >"$mnt/$1/x"
    kill -USR1 "$fake_pid"
    ! mv "$mnt/$1/x" "$mnt/$1/b" 2>/dev/null || fail "the rename was not disturbed"
    ! mkdir "$mnt/$1/refused" 2>/dev/null || fail "the second refusal went elsewhere"
    sleep 1.1 # the mount's memory is over
    [ "$(cat "$mnt/$1/b")" = other ] || fail "b was not replaced: $(cat "$mnt/$1/b")"
}
# intact DIR NAME
intact() {
    sleep 1.1
    [ "$(cat "$mnt/$1/b")" = other ] || fail "$1: the other file is gone: $(cat "$mnt/$1/b")"
    [ "$(cat "$mnt/$1/$2")" = linked ] || fail "$1: $2 holds $(cat "$mnt/$1/$2")"
}
overwritten mv
mv "$mnt/mv/a" "$mnt/mv/sub/c"
intact mv sub/c
overwritten ln
ln "$mnt/ln/a" "$mnt/ln/sub/c"
intact ln sub/c
intact ln a
fake_down
pass
