#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""metadata.py DIR [NAME...]: as posix.py, of times, modes, owners and extended attributes. Some
steps want root and a mount with allow_other."""
import errno
import os
import stat
import sys
import time

from cases import EXCHANGE, fails, get, put, renameat2, run
from fake import wait_for

USER = 65534  # anybody but root
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

    for uid, what, mode, want in (
        (USER, lambda: cut(0), 0o6777, 0o777),
        (USER, lambda: cut(os.O_CREAT), 0o6777, 0o777),
        (USER, lambda: cut(0), 0o2767, 0o2767),  # no set-id without the group's x
        (USER, lambda: cut(0), 0o1777, 0o1777),
        (USER, write, 0o6777, 0o777),
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
        assert got == want, (uid, oct(mode), oct(got))
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
