#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who opens a file that another mount has just made longer or shorter reads it whole, also while the
# kernel remembers the size that it had.
. "$(dirname "$0")/lib.sh"
need_fuse

cat >"$work/read.py" <<'END'
import os, sys
top, other, how = sys.argv[1:]
with open(other + "/file", "w") as file:
    file.write("first\n")
texts = ["first\n"]
for number in range(60):
    texts.append("%d %s\n" % (number, "x" * (number * 37 % 200)))
    os.stat(top + "/file")
    with open(other + "/file", "w") as file:
        file.write(texts[-1])
    flags = os.O_RDWR | (os.O_CREAT if number % 3 == 0 else 0)
    fd = os.open(top + "/file", flags if number % 2 else os.O_RDONLY)
    read = os.read(fd, 1000).decode()
    os.close(fd)
    # a watch may tell of the change a moment later: then it is still the version before
    if read != texts[-1] and (how == "nowatch" or read not in texts):
        sys.exit("%d: %r instead of %r" % (number, read, texts[-1]))
END
cluster_up 3
for how in nowatch watch; do
    options=$([ $how = watch ] || echo nowatch)
    mount_up "$mnt" "$options"
    mount_up "$other" "$options"
    /usr/bin/python3 "$work/read.py" "$mnt" "$other" $how || fail "$how"
    rm "$mnt/file"
    two_mounts_down
done
pass
