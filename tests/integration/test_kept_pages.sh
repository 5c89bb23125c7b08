#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who opens a file that another mount has changed does not read what the kernel kept of it from
# before: not after a truncate(2) by its name, and not where somebody else opens it at the same
# time.
. "$(dirname "$0")/lib.sh"
need_fuse

cat >"$work/kept.py" <<'END'
import ctypes, mmap, os, sys, time
top, other = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
SIZE = 100
def write(name, letter):
    with open(other + "/" + name, "w") as file:
        file.write(letter * SIZE)
def read(fd):
    return os.pread(fd, 2 * SIZE, 0).decode()
def opened(name):
    return os.open(top + "/" + name, os.O_RDONLY)
def kept(fd):
    """Whether the kernel has the first page, which is not asked for."""
    page = mmap.mmap(fd, SIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    at = ctypes.c_char.from_buffer(page)
    there = ctypes.create_string_buffer(1)
    if libc.mincore(ctypes.c_void_p(ctypes.addressof(at)), ctypes.c_size_t(SIZE), there) != 0:
        sys.exit("mincore: " + os.strerror(ctypes.get_errno()))
    return there.raw[0] & 1 == 1

write("cut", "a")
fd = opened("cut")
read(fd)
os.close(fd)
write("cut", "b")
os.truncate(top + "/cut", SIZE)  # to another size: the kernel drops its pages itself
fd = opened("cut")
if read(fd) != "b" * SIZE:
    sys.exit("after truncate: %r" % read(fd))
os.close(fd)

# The kernel drops its pages when the first thread goes on after its open: the second may be faster.
write("both", "a")
before = opened("both")
read(before)
write("both", "b")
first = opened("both")
if kept(first):
    sys.exit("pages of the older version are kept")
read(first)
second = opened("both")
if kept(second):
    sys.exit("told to keep pages that may be those of the older version")
if read(second) != "b" * SIZE:
    sys.exit("%r" % read(second))
for fd in before, first, second:
    os.close(fd)
end = time.monotonic() + 5  # the closed ones are forgotten a moment later
while True:
    fd = opened("both")
    if kept(fd):
        break
    read(fd)
    os.close(fd)
    if time.monotonic() > end:
        sys.exit("the pages are never kept")
END
cluster_up 3
mount_up "$mnt" nowatch
mount_up "$other" nowatch
/usr/bin/python3 "$work/kept.py" "$mnt" "$other" || fail "what the kernel kept"
two_mounts_down
pass
