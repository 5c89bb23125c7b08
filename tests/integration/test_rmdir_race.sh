#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# rmdir while another mount makes a file there: what was made before the directory was marked is not
# lost. The directory is looked at again after the mark, which is taken back.
. "$(dirname "$0")/lib.sh"

fake_up

held=0
# raced NAME: rmdir, with a file that comes just before the mark
raced() {
    held=$((held + 1))
    fake_signal HUP held $held
    ! rmdir "$mnt/$1" 2>"$work/err" || fail "$1 was removed with a file in it"
    grep -q 'not empty' "$work/err" || fail "rmdir $1: $(cat "$work/err")"
    [ "$(ls "$mnt/$1")" = theirs ] || fail "$1 holds $(ls "$mnt/$1")"
    echo mine >"$mnt/$1/mine" || fail "nothing can be made in $1 any more"
    rm -f "$mnt/$1/theirs" "$mnt/$1/mine"
    rmdir "$mnt/$1" || fail "$1 cannot be removed when it is empty"
}
mkdir "$mnt/fresh" "$mnt/read" "$mnt/used"
ls "$mnt/read" >"$work/read"
echo a >"$mnt/used/a"
rm "$mnt/used/a"
for name in fresh read used; do
    raced $name
done
[ "$(ls "$mnt")" = "" ] || fail "left: $(ls "$mnt")"
fake_down
pass
