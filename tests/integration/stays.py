#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""stays.py make DIR | tell DIR FILE: what stays the same over remounts and at another mount, down to
inode numbers, link counts, times and blocks. `make` fills the empty directory; `tell` writes down all
that can be seen of it, a line for each name, and what du says."""
import hashlib
import os
import subprocess
import sys

from cases import pattern, put

TIB = 1 << 40
LARGE = 3_000_000
SECONDS = (0, -1, -(1 << 31) - 1, -(1 << 40), 1 << 31, 1 << 32, 4_300_000_000, 15_032_385_536, 1 << 40)
MOST = 60  # extended attributes of a file


def odd_names():
    yield from (bytes([i]) for i in range(1, 256) if i not in b"/.")
    yield from (b"\xff" * 255, b"\n" * 255, b"-rf", b"\xed\xa0\x80", b"e\xcc\x81", b"...", b".\xff",
                b"n.conflict-20261121T013000Z-anna@mars-9f3c01d2", b".conflict-")


def make_names(d):
    os.mkdir(d)
    for name in odd_names():
        put(os.fsencode(d) + b"/" + name, name * 3)
    for name in (b"\xfe" * 255, b"-dir\n"):
        os.mkdir(os.fsencode(d) + b"/" + name)
        put(os.fsencode(d) + b"/" + name + b"/\xfd", b"in it")


def make_times(d):
    os.mkdir(d)
    for i, seconds in enumerate(SECONDS):
        for kind in ("file", "dir", "link"):
            path = f"{d}/{kind}{i}"
            if kind == "dir":
                os.mkdir(path)
            elif kind == "link":
                os.symlink("to", path)
            else:
                put(path, b"")
            os.utime(path, ns=(seconds * 10**9 + 999_999_999, seconds * 10**9 + 1),
                     follow_symlinks=False)


def make_xattrs(d):
    os.mkdir(d)
    for name in ("many", "large", "most"):
        put(f"{d}/{name}", b"x")
    for i in range(MOST):
        os.setxattr(d + "/many", f"user.{i:03}", b"%d" % i)
        os.setxattr(d + "/most", f"user.{i:03}", b"%03d" % i + b"x" * 17_000)
    os.setxattr(d + "/large", "user." + "n" * 250, pattern(65_000))
    os.setxattr(d + "/large", "user.empty", b"")
    os.setxattr(d, "user.directory", b"d")


def make_links(d):
    os.makedirs(d + "/a/b")
    for size in (5, LARGE):
        for far in ("", "/a/b"):
            names = [f"{d}/{size}{far[-1:]}", f"{d}{far}/{size}{far[-1:]}.2", f"{d}/a/{size}{far[-1:]}.3"]
            put(names[0], pattern(size))
            for name in names[1:1 if not far and size == 5 else 3]:
                os.link(names[0], name)
    put(d + "/was", b"was two")
    os.link(d + "/was", d + "/a/was")
    os.unlink(d + "/was")  # the row that it had is elsewhere
    put(d + "/from", b"moved")
    os.rename(d + "/from", d + "/a/b/moved")
    os.symlink("../links/5", d + "/symlink")
    os.symlink("z" * 4095, d + "/a/longest")
    os.mkfifo(d + "/fifo")
    if os.geteuid() == 0:
        os.mknod(d + "/null", 0o20600, os.makedev(1, 3))
    os.rename(d + "/a", d + "/renamed")


def make_contents(d):
    os.mkdir(d)
    for size in (0, 1, 4095, 61_440, 61_441, LARGE):
        put(f"{d}/{size}", pattern(size))
    fd = os.open(d + "/tebibyte", os.O_RDWR | os.O_CREAT)
    for at, text in ((0, b"begin"), (TIB // 2, b"middle"), (TIB - 3, b"end")):
        os.pwrite(fd, text, at)
    os.close(fd)
    os.truncate(d + "/4095", TIB)
    put(d + "/cut", pattern(LARGE))
    os.truncate(d + "/cut", LARGE // 2)
    subprocess.run(["cp", d + f"/{LARGE}", d + "/copy"], check=True)


def make(top):
    for word, fill in list(globals().items()):
        if word.startswith("make_"):
            fill(f"{top}/{word[5:]}")


def contents(path):
    digest = hashlib.md5()
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        at = 0
        while at < size:  # the data only: a tebibyte of zeros is not read
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            digest.update(b"%d-%d:" % (at, end) + os.pread(f.fileno(), end - at, at))
            at = end
    return digest.hexdigest()


def line(path):
    s = os.lstat(path)
    told = [path, oct(s.st_mode), s.st_ino, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, s.st_size,
            s.st_blocks, s.st_mtime_ns, s.st_ctime_ns, s.st_atime_ns]
    if os.path.islink(path):
        told.append(os.readlink(path))
    elif os.path.isfile(path):
        told.append(contents(path))
    if not os.path.islink(path):
        told += sorted((n, hashlib.md5(os.getxattr(path, n)).hexdigest()) for n in os.listxattr(path))
    return repr(told)


def tell(top, file):
    os.chdir(top)
    lines = []
    for at, dirs, files in os.walk(b"."):
        lines += [line(os.path.join(at, name)) for name in dirs + files]
    du = [subprocess.run(["du", "-a", *how], check=True, stdout=subprocess.PIPE).stdout
          for how in ((), ("-b",), ("--inodes",))]
    with open(file, "w") as f:
        f.write("\n".join(sorted(lines)) + "\n")
        f.write("\n".join(sorted(repr(line) for out in du for line in out.split(b"\n"))) + "\n")
    kib = int(du[0].split()[-2])
    assert kib < 64 << 10, f"du: {kib} KiB, with files of a tebibyte that are nearly empty"


if __name__ == "__main__":
    {"make": make, "tell": tell}[sys.argv[1]](*sys.argv[2:])
