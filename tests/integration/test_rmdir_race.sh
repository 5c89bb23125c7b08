#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# rmdir while another mount makes a file there: what was made before the directory was marked is not
# lost. The directory is looked at again after the mark, which is taken back.
. "$(dirname "$0")/lib.sh"
[ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"

fake=$KITH_BIN/tests/integration/fs_fake
[ -x "$fake" ] || fail "$fake is not built"
"$fake" "$mnt" 0 >"$work/fake.log" 2>&1 &
child=$!
echo "$child" >"$work/fake.pid"
wait_for 30 "the mount" grep -q '^ready' "$work/fake.log"

held=0
is_held() {
    [ "$(grep -c '^held' "$work/fake.log")" = $held ]
}
# raced NAME: rmdir, with a file that comes just before the mark
raced() {
    held=$((held + 1))
    kill -HUP "$child"
    wait_for 10 "the signal to be taken" is_held
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
fusermount3 -u "$mnt"
wait "$child" || fail "the mount ended with $?: $(tail -n 5 "$work/fake.log")"
rm "$work/fake.pid"
pass
