#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""metadata.py DIR [NAME...]: as posix.py, of times, modes, owners and extended attributes. Some
steps want root and a mount with allow_other."""
import ctypes
import errno
import mmap
import os
import shutil
import stat
import sys
import time

from cases import EXCHANGE, LIBC, fails, fallocate, get, put, renameat2, run
from fake import wait_for

USER = 65534  # anybody but root
MOST = 60  # extended attributes of a file, KITH_XATTRS_MAX
TICK_NS = 10_000_000  # of a filesystem's clock


def case_attrs(d):
    put(d + "/f", b"1")
    os.utime(d + "/f", ns=(1_000_000_001, 1_600_000_000_123_456_789))
    s = os.stat(d + "/f")
    assert s.st_atime_ns == 1_000_000_001 and s.st_mtime_ns == 1_600_000_000_123_456_789
    os.utime(d + "/f", ns=(-5, -1_000_000_007))
    assert os.stat(d + "/f").st_mtime_ns == -1_000_000_007
    for mode in (0o777, 0o000, 0o4755, 0o640):
        os.chmod(d + "/f", mode)
        assert stat.S_IMODE(os.stat(d + "/f").st_mode) == mode
    if os.geteuid() == 0:
        os.chown(d + "/f", 1234, 5678)
        s = os.stat(d + "/f")
        assert (s.st_uid, s.st_gid) == (1234, 5678)
    os.mkdir(d + "/dir", 0o700)
    assert stat.S_IMODE(os.stat(d + "/dir").st_mode) == 0o700
    os.utime(d + "/dir", ns=(1, 2))
    assert os.stat(d + "/dir").st_mtime_ns == 2
    before = os.stat(d + "/f").st_ctime_ns
    os.chmod(d + "/f", 0o644)
    assert os.stat(d + "/f").st_ctime_ns > before
    os.utime(d + "/f", ns=(3, 4))
    put(d + "/f", b"2")
    assert time.time_ns() - os.stat(d + "/f").st_mtime_ns < 60 * 10**9
    fd = os.open(d + "/f", os.O_WRONLY)
    os.write(fd, b"3")
    os.utime(fd, ns=(5, 6))
    os.close(fd)
    assert os.stat(d + "/f").st_mtime_ns == 6
    assert get(d + "/f") == b"3"


def case_far_times(d):
    """64 bits of seconds and nanoseconds: before 1970, after 2038, 2106 and 2446."""
    for kind in ("file", "pending", "dir", "link", "fifo"):
        path = f"{d}/{kind}"
        fd = -1
        if kind == "dir":
            os.mkdir(path)
        elif kind == "link":
            os.symlink("to", path)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"1")
            if kind == "file":
                os.close(fd)
        for seconds in (0, -1, -(1 << 31), -(1 << 31) - 1, -(1 << 40), 1 << 31, 1 << 32,
                        4_300_000_000, 15_032_385_536, 1 << 40):
            for nanoseconds in (0, 1, 999_999_999):
                at, mt = seconds * 10**9 + nanoseconds, seconds * 10**9 + 999_999_999 - nanoseconds
                os.utime(path, ns=(at, mt), follow_symlinks=False)
                s = os.stat(path, follow_symlinks=False)
                assert (s.st_atime_ns, s.st_mtime_ns) == (at, mt), (kind, seconds)
        if kind == "pending":
            os.close(fd)
            assert os.stat(path).st_mtime_ns == mt


def case_link_counts(d):
    """A directory's: 2 and one for each directory in it, where the mount knows them; else 1."""
    def count(name=""):
        return os.stat(f"{d}/{name}").st_nlink

    os.mkdir(d + "/a")
    os.mkdir(d + "/b")
    assert count("a") == 2 and count("b") == 2
    os.mkdir(d + "/a/1")
    os.mkdir(d + "/a/2")
    put(d + "/a/f", b"")
    os.symlink("1", d + "/a/s")
    assert count("a") == 4
    os.rename(d + "/a/1", d + "/b/1")
    assert count("a") == 3 and count("b") == 3
    os.rename(d + "/a/2", d + "/b/1")  # takes its place
    assert count("a") == 2 and count("b") == 3
    renameat2(d + "/a/f", d + "/a/s", EXCHANGE)
    os.rename(d + "/b/1", d + "/b/2")
    assert count("a") == 2 and count("b") == 3
    os.rmdir(d + "/b/2")
    assert count("b") == 2
    fd = os.open(d + "/b", os.O_RDONLY)
    os.rmdir(d + "/b")
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    os.mkdir(d + "/many")
    for i in range(100):
        os.mkdir(f"{d}/many/{i}")
        if i % 3 == 0:
            os.rmdir(f"{d}/many/{i // 3}")
    os.listdir(d + "/many")
    assert count("many") in (1, 2 + len(os.listdir(d + "/many")))


def case_set_id(d):
    """Who writes to a file takes its set-id bits, by whichever call."""
    if os.geteuid() != 0:
        return
    at = os.open(d, os.O_RDONLY | os.O_DIRECTORY)  # others cannot walk to it

    def cut(flags):
        os.close(os.open("f", os.O_WRONLY | os.O_TRUNC | flags, dir_fd=at))

    def write():
        fd = os.open("f", os.O_WRONLY, dir_fd=at)
        os.write(fd, b"3")
        os.close(fd)

    def size(path):
        os.chdir(at)  # truncate knows no dir_fd
        os.truncate(path, 2)
        if path != "f":
            os.close(path)
        os.chdir("/")

    def space(mode):
        fd = os.open("f", os.O_WRONLY, dir_fd=at)
        fallocate(fd, mode, 0, 100)
        os.close(fd)

    def mapped():
        fd = os.open("f", os.O_RDWR, dir_fd=at)
        m = mmap.mmap(fd, 1)
        m[0:1] = b"m"
        m.close()
        os.close(fd)

    for uid, what, mode, want in (
        (USER, lambda: cut(0), 0o6777, 0o777),
        (USER, lambda: cut(os.O_CREAT), 0o6777, 0o777),
        (USER, lambda: cut(0), 0o2767, 0o2767),  # no set-id without the group's x
        (USER, lambda: cut(0), 0o1777, 0o1777),
        (USER, write, 0o6777, 0o777),
        (USER, lambda: size("f"), 0o6777, 0o777),
        (USER, lambda: size(os.open("f", os.O_WRONLY, dir_fd=at)), 0o6777, 0o777),
        (USER, lambda: space(0), 0o6777, 0o777),
        (USER, lambda: space(3), 0o6777, 0o777),  # a hole
        (USER, mapped, 0o6777, None),
        (0, lambda: os.chown(d + "/f", 7, 8), 0o6777, 0o777),  # of whatever is executable
        (0, lambda: os.chown(d + "/f", 7, -1), 0o4711, 0o711),
        (0, lambda: os.chown(d + "/f", -1, 9), 0o2767, 0o2767),
        (0, write, 0o6777, 0o6777),
        (0, lambda: cut(0), 0o6777, 0o6777),
    ):
        put(d + "/f", b"1")
        os.chmod(d + "/f", mode)
        os.seteuid(uid)
        try:
            what()
        finally:
            os.seteuid(0)
        got = stat.S_IMODE(os.stat(d + "/f").st_mode)
        assert want is None or got == want, (uid, oct(mode), oct(got))
    os.close(at)


def case_xattrs(d):
    put(d + "/x", b"")
    fails(errno.ENODATA, os.getxattr, d + "/x", "user.a")
    assert os.listxattr(d + "/x") == []
    os.setxattr(d + "/x", "user.a", b"1")
    os.setxattr(d + "/x", "user.b", b"2" * 1000)
    assert os.getxattr(d + "/x", "user.a") == b"1"
    assert os.getxattr(d + "/x", "user.b") == b"2" * 1000
    assert sorted(os.listxattr(d + "/x")) == ["user.a", "user.b"]
    fails(errno.EEXIST, os.setxattr, d + "/x", "user.a", b"", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, d + "/x", "user.z", b"", os.XATTR_REPLACE)
    os.setxattr(d + "/x", "user.a", b"", os.XATTR_REPLACE)
    assert os.getxattr(d + "/x", "user.a") == b""
    os.rename(d + "/x", d + "/y")
    assert os.getxattr(d + "/y", "user.b") == b"2" * 1000
    os.removexattr(d + "/y", "user.b")
    fails(errno.ENODATA, os.removexattr, d + "/y", "user.b")
    assert os.listxattr(d + "/y") == ["user.a"]
    put(d + "/z", b"fresh")
    os.rename(d + "/z", d + "/y")
    assert os.listxattr(d + "/y") == []
    os.setxattr(d, "user.dir", b"d")
    assert os.getxattr(d, "user.dir") == b"d"
    put(d + "/l", b"")
    os.setxattr(d + "/l", "user.k", b"v")
    os.link(d + "/l", d + "/m")
    assert os.getxattr(d + "/m", "user.k") == b"v"
    os.unlink(d + "/l")
    assert os.getxattr(d + "/m", "user.k") == b"v"


def case_xattr_names(d):
    put(d + "/f", b"")
    for there in (False, True):
        for name in ("foo.a", "nodot", "users.a", "system.a"):
            fails(errno.EOPNOTSUPP, os.setxattr, d + "/f", name, b"1")
            fails(errno.EOPNOTSUPP, os.getxattr, d + "/f", name)
            fails(errno.EOPNOTSUPP, os.removexattr, d + "/f", name)
        for name in ("user.", "security.", "trusted."):
            fails(errno.EINVAL, os.setxattr, d + "/f", name, b"1")
            fails(errno.EINVAL, os.getxattr, d + "/f", name)
            fails(errno.EINVAL, os.removexattr, d + "/f", name)
        os.setxattr(d + "/f", "user.a", b"1")
    assert os.listxattr(d + "/f") == ["user.a"]
    if os.geteuid() == 0:
        for name in ("trusted.a", "security.a"):
            os.setxattr(d + "/f", name, b"2")
            assert os.getxattr(d + "/f", name) == b"2"


def case_xattr_limits(d):
    """Of names, values and lists, as on Linux; all that a file can have moves with it."""
    f, g = d + "/f", d + "/g"
    put(f, b"f")
    longest = "user." + "n" * 250
    os.setxattr(f, longest, b"1")
    assert os.getxattr(f, longest) == b"1" and os.listxattr(f) == [longest]
    fails(errno.ERANGE, os.setxattr, f, longest + "n", b"1")
    fails(errno.ERANGE, os.getxattr, f, longest + "n")
    os.removexattr(f, longest)
    value = bytes(range(256)) * 255
    os.setxattr(f, "user.v", value)
    assert os.getxattr(f, "user.v") == value
    for size in (65537, 100_000):
        fails(errno.E2BIG, os.setxattr, f, "user.v", b"x" * size)
    assert os.getxattr(f, "user.v") == value
    small = ctypes.create_string_buffer(10)
    for call, args in ((LIBC.getxattr, (b"user.v", small, 10)), (LIBC.listxattr, (small, 3))):
        assert call(f.encode(), *args) == -1 and ctypes.get_errno() == errno.ERANGE
    assert LIBC.getxattr(f.encode(), b"user.v", None, 0) == len(value)
    os.symlink("f", d + "/s")
    fails(errno.EPERM, os.setxattr, d + "/s", "user.a", b"1", follow_symlinks=False)
    os.removexattr(f, "user.v")

    def fill(path, letter, size):
        for i in range(MOST):
            os.setxattr(path, f"user.{letter}{i:03}", b"%03d" % i + b"x" * size)
        fails(errno.ENOSPC, os.setxattr, path, "user.more", b"")
        fails(errno.ENOSPC, os.setxattr, path, f"user.{letter}000", b"x" * 60_000) if size else None

    def check(path, letter, size):
        assert sorted(os.listxattr(path)) == [f"user.{letter}{i:03}" for i in range(MOST)]
        for i in (0, 1, MOST // 3, MOST - 1):
            assert os.getxattr(path, f"user.{letter}{i:03}") == b"%03d" % i + b"x" * size

    for size in (0, 17_000):  # the second is a mebibyte in all
        put(f, b"f")
        put(g, b"g")
        fill(f, "f", size)
        check(f, "f", size)
        os.setxattr(f, "user.f000", b"other")  # no more than there were
        os.removexattr(f, "user.f001")
        os.setxattr(f, "user.f001", b"001" + b"x" * size)
        os.setxattr(f, "user.f000", b"000" + b"x" * size)
        fill(g, "g", size)
        renameat2(f, g, EXCHANGE)
        check(g, "f", size)
        check(f, "g", size)
        os.rename(g, d + "/h")
        check(d + "/h", "f", size)
        os.rename(f, d + "/h")  # over one that has as many
        check(d + "/h", "g", size)
        os.mkdir(d + "/sub")
        os.rename(d + "/h", d + "/sub/h")
        check(d + "/sub/h", "g", size)
        os.link(d + "/sub/h", d + "/sub/i")
        os.link(d + "/sub/h", d + "/i")
        os.unlink(d + "/sub/h")
        check(d + "/i", "g", size)
        os.unlink(d + "/i")
        check(d + "/sub/i", "g", size)
        os.unlink(d + "/sub/i")
        put(d + "/sub/i", b"another")
        assert os.listxattr(d + "/sub/i") == []
        shutil.rmtree(d + "/sub")


def changes(path, call, *args):
    """The call changes the ctime of what is at the path afterwards; and that alone of its times."""
    before = os.lstat(args[0])
    wait_for("the clock of the times", lambda: time.time_ns() > before.st_ctime_ns + TICK_NS)
    call(*args)
    after = os.lstat(path)
    assert after.st_ino == before.st_ino
    assert after.st_ctime_ns > before.st_ctime_ns, (call.__name__, args)
    assert after.st_mtime_ns == before.st_mtime_ns and after.st_atime_ns == before.st_atime_ns


def case_ctime_of_names(d):
    """A file's ctime changes with its names: incremental backups look at nothing else."""
    os.mkdir(d + "/sub")
    for how in ("stored", "pending", "chmod"):
        f, g, h = f"{d}/f", f"{d}/g", f"{d}/h"
        fd = os.open(f, os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"1")
        if how != "pending":
            os.close(fd)
        if how == "chmod":
            os.chmod(f, 0o600)
            os.chmod(f, 0o666)
        changes(g, os.rename, f, g)
        changes(g, os.link, g, f)
        changes(g, os.link, g, h)
        changes(d + "/f2", os.rename, f, d + "/f2")
        unlinks = lambda stays, goes: changes(stays, lambda _: os.unlink(goes), stays)
        unlinks(g, d + "/f2")
        unlinks(g, h)
        changes(d + "/sub/g", os.rename, g, d + "/sub/g")
        g = d + "/sub/g"
        changes(g, os.link, g, f)  # in another directory
        changes(h, os.rename, f, h)
        unlinks(g, h)
        put(f, b"other")
        e = d + "/sub/e"
        put(e, b"third")
        changes(e, renameat2, g, e, EXCHANGE)
        changes(g, renameat2, e, g, EXCHANGE)
        os.unlink(e)
        os.link(g, h)
        before = os.stat(g).st_ctime_ns
        os.rename(f, h)  # takes a name from it
        assert os.stat(g).st_ctime_ns > before
        if how == "pending":
            os.close(fd)
        fd = os.open(g, os.O_RDONLY)
        before = os.fstat(fd).st_ctime_ns
        os.unlink(g)
        assert os.fstat(fd).st_ctime_ns > before and os.fstat(fd).st_nlink == 0
        os.close(fd)
        os.unlink(h)
    changes(d + "/sub2", os.rename, d + "/sub", d + "/sub2")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    sys.exit(run(sys.argv[1], sys.argv[2:], globals()))
