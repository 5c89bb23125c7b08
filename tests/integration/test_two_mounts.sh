#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two mounts of one cluster: what one has written and not put yet survives that the other removes
# the file without having seen it; and a removal that has seen it is a removal.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up

echo one >"$mnt/file"
wait_for 10 "the other mount to see the file" grep -qx one "$other/file"
/usr/bin/python3 - "$mnt" "$other/file" <<'EOF' || fail "an edit of what is removed elsewhere"
import os, sys
top, other = sys.argv[1:]
fd = os.open(top + "/file", os.O_RDWR)
os.read(fd, 10)
os.write(fd, b"two\n")  # waits in memory for up to a second: nothing is closed
os.unlink(other)
for name in os.listdir(top):  # reads the directory anew
    os.lstat(os.path.join(top, name))
os.fsync(fd)
EOF
wait_for 10 "the edit at the other mount" grep -qx two "$other/file"

echo seen >"$mnt/gone"
wait_for 10 "the other mount to see the file" grep -qx seen "$other/gone"
rm "$other/gone"
wait_for 10 "the removal to be seen" sh -c "! ls '$mnt/gone'"

# the names of a hard link whose inode lies elsewhere are in a listing from memory, too
mkdir -p "$mnt/linked/sub"
echo one >"$mnt/linked/one"
echo two >"$mnt/linked/two"
ln "$mnt/linked/one" "$mnt/linked/sub/one"
mount_down "$other"
mount_up "$other"
for time in first second third; do
    listed=$(/usr/bin/ls -f "$other/linked" | LC_ALL=C sort | tr '\n' ' ')
    [ "$listed" = ". .. one sub two " ] || fail "the $time listing: $listed"
    listed=$(/usr/bin/ls -f "$other/linked/sub" | LC_ALL=C sort | tr '\n' ' ')
    [ "$listed" = ". .. one " ] || fail "the $time listing: $listed"
done
rm -r "$other/linked" || fail "rm -r of a directory with hard links after it was listed"

# opened again while it is open and was edited elsewhere: what is renamed then is the edit
echo first >"$mnt/reopened"
wait_for 10 "the other mount to see the file" grep -qx first "$other/reopened"
exec 7<"$mnt/reopened"
cat <&7 >/dev/null
echo second >"$other/reopened"
wait_for 10 "the edit at the mount that has it open" grep -qx second "$mnt/reopened"
exec 7<&-
grep -qx second "$mnt/reopened" || fail "after the close: $(cat "$mnt/reopened")"
mv "$mnt/reopened" "$mnt/renamed"
grep -qx second "$mnt/renamed" || fail "renamed with old contents: $(cat "$mnt/renamed")"
wait_for 10 "the renamed edit elsewhere" grep -qx second "$other/renamed"

# without a watch O_EXCL asks the cluster, also where this mount's memory says that nothing of that
# name is there (with one: test_watch.sh)
mount_down
mount_up "$mnt" nowatch
exclusive() {
    /usr/bin/python3 -c 'import os, sys
os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))' "$1" 2>"$work/exclusive.log"
}
mkdir "$mnt/locks"
wait_for 10 "the other mount to see the directory" test -d "$other/locks"
echo first >"$other/locks/lock"
exclusive "$mnt/locks/lock" && fail "O_EXCL made a file that the other mount had made"
grep -q FileExistsError "$work/exclusive.log" || fail "O_EXCL: $(cat "$work/exclusive.log")"
exclusive "$mnt/locks/mine" || fail "O_EXCL: $(cat "$work/exclusive.log")"
[ "$(cat "$mnt/locks/lock")" = first ] || fail "the other mount's file was changed"
two_mounts_down
pass
