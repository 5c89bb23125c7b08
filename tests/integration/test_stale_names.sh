#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file with two names, over one of which another file is renamed: that is one put, which leaves
# nothing behind when it is refused; and the other file is not taken for a name of the first when
# that one's inode moves to a group of its own.
. "$(dirname "$0")/lib.sh"

fake_up

# overwritten DIR: a is one of two names of a file; the other, b, is another file now
overwritten() {
    mkdir "$mnt/$1" "$mnt/$1/sub"
    echo linked >"$mnt/$1/a"
    ln "$mnt/$1/a" "$mnt/$1/b"
    echo other >"$mnt/$1/x"
    fake_fault refuse 0 1
    ! mv "$mnt/$1/x" "$mnt/$1/b" 2>/dev/null || fail "the rename was not disturbed"
    fake_remount
    [ "$(cat "$mnt/$1/b")" = linked ] || fail "b was replaced: $(cat "$mnt/$1/b")"
    [ "$(stat -c %h "$mnt/$1/a")" = 2 ] || fail "a has $(stat -c %h "$mnt/$1/a") names"
    fake_fault refuse 1 1
    mv "$mnt/$1/x" "$mnt/$1/b" || fail "the rename takes more than one put"
    ! ln -s x "$mnt/$1/refused" 2>/dev/null || fail "the refusal went elsewhere"
    fake_fault refuse 0 0
    [ "$(stat -c %h "$mnt/$1/a")" = 1 ] || fail "a has $(stat -c %h "$mnt/$1/a") names"
}
# intact DIR NAME
intact() {
    fake_remount
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
