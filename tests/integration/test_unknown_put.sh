#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A put that was carried out but whose answer was lost is put again under the same request id: what
# is written afterwards is no conflict with it, and a file that is removed afterwards stays away.
. "$(dirname "$0")/lib.sh"

fake_up

# lose_answer COMMAND...: the answer of the next put is lost; the command ends with an error
lost=0
lose_answer() {
    lost=$((lost + 1))
    fake_signal USR2 lost $lost
    ! "$@" 2>/dev/null || fail "$* went well"
}
write() { # one put, by fsync
    /usr/bin/python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"later.\n")
os.fsync(fd)' "$1"
}
for name in changed moved removed new replaced linked; do
    mkdir "$mnt/$name"
    [ $name = new ] || echo before >"$mnt/$name/f"
done
lose_answer write "$mnt/changed/f"
echo two >>"$mnt/changed/f"
[ "$(cat "$mnt/changed/f")" = "$(printf 'later.\ntwo')" ] ||
    fail "contents: $(cat "$mnt/changed/f")"

lose_answer write "$mnt/moved/f"
mv "$mnt/moved/f" "$mnt/moved/g"
lose_answer write "$mnt/removed/f"
rm "$mnt/removed/f"
lose_answer write "$mnt/new/f"
rm "$mnt/new/f"
echo above >"$mnt/replaced/new"
lose_answer write "$mnt/replaced/f"
mv "$mnt/replaced/new" "$mnt/replaced/f"
lose_answer write "$mnt/linked/f"
ln "$mnt/linked/f" "$mnt/linked/g"
check() {
    [ "$(ls "$mnt/moved")" = g ] && [ "$(cat "$mnt/moved/g")" = later. ] ||
        fail "moved: $(ls "$mnt/moved")"
    [ "$(ls "$mnt/removed")" = "" ] || fail "the removed file came back"
    [ "$(ls "$mnt/new")" = "" ] || fail "the new file that was removed came back"
    [ "$(ls "$mnt/replaced")" = f ] && [ "$(cat "$mnt/replaced/f")" = above ] || fail "replaced"
    [ "$(cat "$mnt/linked/g")" = later. ] || fail "linked"
}
check
fake_remount
check
fake_down
grep -qx 'conflicts 0' "$fake_log" ||
    fail "the mount made a conflict with itself: $(tail -n 1 "$fake_log")"
pass
