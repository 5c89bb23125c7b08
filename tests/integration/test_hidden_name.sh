#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two mounts give one name to two files at once, neither of which has seen the other's: the newer one
# has it. The older one, a hard link, keeps what it holds when its other name is removed in the same
# moment: for the mount that does it the file has the first name still.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
# The newer file waits in memory while the older one gets the name.
cat >"$work/change.py" <<'END'
import os, sys
mnt, other, second = sys.argv[1:]
fd = os.open(other + "/name", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.write(fd, b"newer\n")
os.rename(mnt + "/a", mnt + "/name")
os.close(fd)
os.unlink(second)
END
kept() { # WORD DIR: in a file of it, for a mount that remembers nothing
    ! mountpoint -q "$work/mnt3" || mount_down "$work/mnt3"
    mount_up "$work/mnt3"
    grep -qrx "$1" "$work/mnt3/$2"
}
for second in b sub/b; do
    mkdir -p "$mnt/d.$second/sub"
    echo older >"$mnt/d.$second/a"
    ln "$mnt/d.$second/a" "$mnt/d.$second/$second"
    wait_for 10 "the links at the other mount" ls "$other/d.$second/$second"
    /usr/bin/python3 "$work/change.py" "$mnt/d.$second" "$other/d.$second" "$mnt/d.$second/$second" ||
        fail "change.py"
    wait_for 10 "the newer file" kept newer "d.$second"
    wait_for 10 "the older file" kept older "d.$second"
    say "the other name is $second"
done
mount_down "$work/mnt3"
two_mounts_down
pass
