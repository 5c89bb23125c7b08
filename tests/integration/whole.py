# SPDX-License-Identifier: GPL-3.0-or-later
"""whole.py DIR OTHER: a write(2) that the kernel hands over in two is stored in one piece, though
somebody else closes the file in between. OTHER is another mount of the same directory.

The second half of what is written lies in memory that is not there yet when the kernel asks for it
(userfaultfd); so the write stands between its two WRITEs as long as this program likes. Exits 77
where the system has no userfaultfd."""
import ctypes
import fcntl
import mmap
import os
import platform
import struct
import sys
import threading
import time

PAGE = mmap.PAGESIZE
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03
REGISTER_MODE_MISSING = 1
SYSCALL = {"x86_64": 323, "aarch64": 282}
LINE = b"0123456789abcde\n"
FIRST = 6  # bytes of it before the page ends
BETWEEN_S = 0.01  # the write stands so long; the mount waits PART_NS (whole.c) for the rest
SEEN_S = 10  # at most, until another mount has what was closed
WAITED_S = 0.04  # since the write began; less than that: who closes has not waited


class Later:
    """Two pages, the second of which comes with `come`."""

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        number = SYSCALL.get(platform.machine())
        self.fd = libc.syscall(number, os.O_CLOEXEC) if number else -1
        if self.fd < 0:
            sys.exit(77)
        fcntl.ioctl(self.fd, UFFDIO_API, struct.pack("QQQ", 0xAA, 0, 0))
        self.pages = mmap.mmap(-1, 2 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        self.pages[PAGE - FIRST:PAGE] = LINE[:FIRST]
        fcntl.ioctl(self.fd, UFFDIO_REGISTER,
                    struct.pack("QQQQ", self.address + PAGE, PAGE, REGISTER_MODE_MISSING, 0))
        self.page = ctypes.create_string_buffer(LINE[FIRST:], PAGE)

    def come(self):
        fcntl.ioctl(self.fd, UFFDIO_COPY, struct.pack(
            "QQQQq", self.address + PAGE, ctypes.addressof(self.page), PAGE, 0, 0))

    def write(self, fd, ret):
        libc = ctypes.CDLL(None, use_errno=True)
        ret.append(libc.write(fd, ctypes.c_void_p(self.address + PAGE - FIRST), len(LINE)))


def close_elsewhere(path, opened, go, ret):
    """Another thread's descriptor of the file is closed: when that is done."""
    fd = os.open(path, os.O_RDWR)
    opened.set()
    go.wait()
    os.close(fd)
    ret.append(time.monotonic())


def once(top, other, name):
    """Whether the close has waited and found the whole line."""
    before = b"x" * (PAGE - FIRST - 1) + b"\n"
    with open(top + "/" + name, "wb") as file:
        file.write(before)
    later, closed, wrote = Later(), [], []
    opened, go = threading.Event(), threading.Event()
    closer = threading.Thread(target=close_elsewhere, args=(top + "/" + name, opened, go, closed))
    closer.start()
    opened.wait()
    fd = os.open(top + "/" + name, os.O_WRONLY | os.O_APPEND)
    writer = threading.Thread(target=later.write, args=(fd, wrote))
    start = time.monotonic()
    writer.start()
    os.read(later.fd, 32)  # the kernel asks for the second page: the first WRITE is answered
    go.set()
    time.sleep(BETWEEN_S)
    later.come()
    writer.join()
    closer.join()
    if wrote != [len(LINE)]:
        sys.exit("wrote %r" % wrote)
    with open(other + "/" + name, "rb") as file:
        data = file.read()
    whole = data in (before, before + LINE)
    if not whole and closed[0] - start < WAITED_S:
        sys.exit("closed after %.3f s, %d bytes, the last of which are %r" %
                 (closed[0] - start, len(data), data[-10:]))
    os.close(fd)
    until = time.monotonic() + SEEN_S
    while data != before + LINE:  # the other mount is told of it, and that takes a moment
        with open(other + "/" + name, "rb") as file:
            data = file.read()
        if data != before + LINE and time.monotonic() > until:
            sys.exit("not all that was written: %d bytes, the last of which are %r" %
                     (len(data), data[-20:]))
    return whole


def main():
    top, other = sys.argv[1:]
    whole = [once(top, other, "file%d" % number) for number in range(10)]
    if True not in whole:  # a machine that is too slow for this is too slow for all ten
        sys.exit("the rest of a write was awaited in no case")


main()
