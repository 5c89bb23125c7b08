#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that is open at one mount is renamed at another, and the first has seen that the name is gone,
# but not where the file is: what is written to it then is acknowledged only when it is in the cluster.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up "$mnt" nowatch # it asks for one name, and learns nothing of others
mount_up "$other"

# write.py TOP OTHER HOW: written to the open file after it was renamed elsewhere; prints what fsync,
# or else close, says
cat >"$work/write.py" <<'END'
import errno, os, sys, time
top, other, how = sys.argv[1:]
fd = os.open(top + "/file", os.O_RDWR | os.O_APPEND)
os.read(fd, 10)
os.rename(other + "/file", other + "/moved")
while os.path.exists(top + "/file"):
    time.sleep(0.01)
os.write(fd, b"written\n")
try:
    if how == "fsync":
        os.fsync(fd)
    os.close(fd)
    print("stored")
except OSError as error:
    print(errno.errorcode[error.errno])
END
for how in fsync close; do
    echo text >"$mnt/file"
    wait_for 10 "the other mount to see the file" grep -qx text "$other/file"
    said=$(/usr/bin/python3 "$work/write.py" "$mnt" "$other" $how)
    grep -qx written "$other/moved" || [ "$said" != stored ] ||
        fail "$how: acknowledged, and nowhere but in memory"
    say "$how says: $said"
    wait_for 10 "what was written, once the file is found" grep -qx written "$mnt/moved"
    wait_for 10 "what was written, elsewhere" grep -qx written "$other/moved"
    rm "$mnt/moved"
done
two_mounts_down
pass
