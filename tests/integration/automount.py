# SPDX-License-Identifier: GPL-3.0-or-later
"""automount.py SOURCE MOUNTPOINT OPTIONS - mounts kithfs as an automount does (systemd's
x-systemd.automount): when somebody first goes to the mount point. Until it is mounted everybody
waits there but the automounter's own group of processes. Prints what the file "file" holds; leaves
the kithfs mounted over the autofs."""
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys

AUTOFS_IOC_READY = 0x9360
AUTOFS_IOC_FAIL = 0x9361
SECONDS = 40

source, point, options = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
ends = os.pipe()
if os.getpgrp() != os.getpid():
    os.setpgrp()
data = f"fd={ends[1]},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
if libc.mount(b"automount", point.encode(), b"autofs", 0, data.encode()) != 0:
    print("skip:", os.strerror(ctypes.get_errno()))
    sys.exit(77)
root = os.open(point, os.O_RDONLY | os.O_DIRECTORY)  # not for us
signal.alarm(SECONDS)
reader = subprocess.Popen(["setsid", "cat", point + "/file"], stdout=subprocess.PIPE)
packet = os.read(ends[0], 512)  # autofs_v5_packet: version, type, token, ...
_, _, token = struct.unpack_from("iiI", packet)
status = subprocess.run(["kithfs", source, point, "-o", options], timeout=SECONDS / 2).returncode
fcntl.ioctl(root, AUTOFS_IOC_READY if status == 0 else AUTOFS_IOC_FAIL, token)
print(reader.communicate()[0].decode().strip())
sys.exit(status)
