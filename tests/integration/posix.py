#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""posix.py DIR [NAME...]: what programs expect of a filesystem, tried on any mounted directory DIR;
of a cluster in memory (fake.py) one case also asks what was put.

Each case is a function case_*; those named run alone. Prints a line a case and ends with
"N passed, M failed"; the status is 0 only when none failed. Needs Linux and Python 3.9."""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import socket
import stat
import sys
import threading
import traceback

from cases import EXCHANGE, LIBC, NOREPLACE, fails, fallocate, get, pattern, put, renameat2, run
from fake import Fake, wait_for

FAKE = Fake() if "KITH_FAKE" in os.environ else None
SIZE = 70_000  # larger than what stays inline in a row


def case_read_write(d):
    for size in (0, 1, 4096, 60_000, SIZE, 3_000_000):
        data = pattern(size, size + 1)
        put(d + "/f", data)
        assert get(d + "/f") == data, size
        assert os.stat(d + "/f").st_size == size
    fd = os.open(d + "/f", os.O_RDWR)
    os.pwrite(fd, b"hello", 1_000_000)
    os.pwrite(fd, b"x" * 9000, 2_500_000)
    want = bytearray(data)
    want[1_000_000:1_000_005] = b"hello"
    want[2_500_000:2_509_000] = b"x" * 9000
    assert os.pread(fd, 100, 999_990) == bytes(want[999_990:1_000_090])
    os.close(fd)
    assert get(d + "/f") == bytes(want)


def case_append_truncate(d):
    for i in range(50):
        with open(d + "/a", "ab") as f:
            f.write(b"line %d\n" % i)
    assert get(d + "/a") == b"".join(b"line %d\n" % i for i in range(50))
    os.truncate(d + "/a", 6)
    assert get(d + "/a") == b"line 0"
    os.truncate(d + "/a", 10)
    assert get(d + "/a") == b"line 0\0\0\0\0"
    fd = os.open(d + "/a", os.O_RDWR)
    os.ftruncate(fd, 100_000)
    os.pwrite(fd, b"end", 99_997)
    os.ftruncate(fd, 99_999)
    os.close(fd)
    data = get(d + "/a")
    assert len(data) == 99_999 and data[-2:] == b"en" and data[10:99_997] == b"\0" * 99_987
    with open(d + "/a", "wb"):
        pass
    assert os.stat(d + "/a").st_size == 0
    fails(errno.EISDIR, os.truncate, d, 0)
    fails(errno.ENOENT, os.truncate, d + "/none", 0)


def case_excl(d):
    fd = os.open(d + "/x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    fails(errno.EEXIST, os.open, d + "/x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(fd)
    fails(errno.EEXIST, os.open, d + "/x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(d + "/x", os.O_CREAT | os.O_WRONLY))
    won = []

    def race(i):
        try:
            os.close(os.open(d + "/race", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            won.append(i)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=race, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1, won


def case_errors(d):
    os.mkdir(d + "/dir")
    put(d + "/file", b"x")
    fails(errno.EEXIST, os.mkdir, d + "/dir")
    fails(errno.EEXIST, os.mkdir, d + "/file")
    fails(errno.ENOENT, os.mkdir, d + "/none/dir")
    fails(errno.ENOENT, os.rmdir, d + "/none")
    fails(errno.ENOTDIR, os.rmdir, d + "/file")
    fails(errno.EISDIR, os.unlink, d + "/dir")
    fails(errno.ENOENT, os.unlink, d + "/none")
    fails(errno.ENOTDIR, os.stat, d + "/file/x")
    fails(errno.EISDIR, os.open, d + "/dir", os.O_WRONLY)
    put(d + "/dir/in", b"y")
    fails(errno.ENOTEMPTY, os.rmdir, d + "/dir")
    fd = os.open(d + "/dir/pending", os.O_CREAT | os.O_WRONLY)
    os.unlink(d + "/dir/in")
    fails(errno.ENOTEMPTY, os.rmdir, d + "/dir")
    os.close(fd)
    os.unlink(d + "/dir/pending")
    os.rmdir(d + "/dir")
    fails(errno.ENOENT, os.stat, d + "/dir")
    fails(errno.ENOENT, put, d + "/dir/x", b"")
    fails(errno.EPERM, os.link, d, d + "/hard")


def case_names(d):
    long = "n" * 255
    put(d + "/" + long, b"long")
    assert get(d + "/" + long) == b"long"
    assert long in os.listdir(d)
    os.rename(d + "/" + long, d + "/" + "m" * 255)
    os.unlink(d + "/" + "m" * 255)
    fails(errno.ENAMETOOLONG, put, d + "/" + "n" * 256, b"")
    fails(errno.ENAMETOOLONG, os.mkdir, d + "/" + "n" * 256)
    fails(errno.ENAMETOOLONG, os.stat, d + "/" + "n" * 256)
    for name in ("ü.txt", "a b", "-", "\\", "\x01", "*", "a\n"):
        put(d + "/" + name, name.encode())
        assert name in os.listdir(d) and get(d + "/" + name) == name.encode()
        os.unlink(d + "/" + name)


def case_names_of_bytes(d):
    """A name is bytes but NUL and the slash: no encoding, no case, nothing is folded."""
    d = os.fsencode(d) + b"/"
    names = [bytes([i]) for i in range(1, 256) if i not in b"/."]
    names += [b"..." + bytes([i]) for i in (1, 46, 127, 128, 255)]
    names += [b"\xff" * 255, b"\xc3\xa9", b"e\xcc\x81", b"\xed\xa0\x80", b"\xef\xbb\xbf"]
    names += [b"-rf", b"--", b"\n" * 255, b".conflict-", b"a.conflict-b", b".kith", b"lost+found",
              b"f.conflict-20261121T013000Z-anna@mars-9f3c01d2"]
    for name in names:
        put(d + name, name)
    assert sorted(os.listdir(d)) == sorted(names)
    for name in names:
        assert get(d + name) == name
        os.rename(d + name, d + b"to")
        assert get(d + b"to") == name
        os.unlink(d + b"to")
        os.symlink(name, d + name)
        assert os.readlink(d + name) == name
        os.unlink(d + name)
        os.mkdir(d + name)
        os.rmdir(d + name)
    assert os.listdir(d) == []
    for path in (d + b".", d + b".."):
        fails((errno.EEXIST, errno.EISDIR), os.mkdir, path)
        fails((errno.EINVAL, errno.ENOTEMPTY, errno.EBUSY), os.rmdir, path)


def case_rename(d):
    put(d + "/a", b"a")
    os.rename(d + "/a", d + "/b")
    assert get(d + "/b") == b"a" and not os.path.exists(d + "/a")
    put(d + "/c", pattern(SIZE))
    os.rename(d + "/b", d + "/c")
    assert get(d + "/c") == b"a" and os.listdir(d) == ["c"]
    os.mkdir(d + "/d1")
    os.mkdir(d + "/d2")
    os.rename(d + "/c", d + "/d1/c")
    assert get(d + "/d1/c") == b"a" and sorted(os.listdir(d)) == ["d1", "d2"]
    fails(errno.ENOTEMPTY, os.rename, d + "/d2", d + "/d1")
    os.rename(d + "/d1", d + "/d2")
    assert os.listdir(d) == ["d2"] and get(d + "/d2/c") == b"a"
    os.mkdir(d + "/sub")
    os.rename(d + "/d2", d + "/sub/d")
    assert get(d + "/sub/d/c") == b"a"
    fails(errno.EINVAL, os.rename, d + "/sub", d + "/sub/d/x")
    put(d + "/file", b"f")
    fails(errno.EISDIR, os.rename, d + "/file", d + "/sub")
    fails(errno.ENOTDIR, os.rename, d + "/sub", d + "/file")
    fails(errno.ENOENT, os.rename, d + "/none", d + "/x")
    os.chmod(d + "/file", 0o640)
    os.utime(d + "/file", ns=(10**9, 2 * 10**9 + 7))
    os.rename(d + "/file", d + "/file2")
    s = os.stat(d + "/file2")
    assert stat.S_IMODE(s.st_mode) == 0o640 and s.st_mtime_ns == 2 * 10**9 + 7
    os.rename(d + "/file2", d + "/file2")
    assert get(d + "/file2") == b"f"


def case_rename_over(d):
    """Each kind over each kind: what replaces what, and which of the errors else."""
    def sock(path):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)

    def full(path):
        os.mkdir(path)
        put(path + "/in", b"in")

    kinds = {
        "file": lambda p: put(p, b"f"), "large": lambda p: put(p, pattern(SIZE)), "dir": os.mkdir,
        "full": full, "link": lambda p: os.symlink("to", p), "fifo": os.mkfifo, "sock": sock,
    }
    os.mkdir(d + "/there")
    for make_name, make in kinds.items():
        for over_name, make_over in kinds.items():
            for to in (d + "/to", d + "/there/to"):
                source = d + "/from"
                make(source)
                make_over(to)
                ids = os.lstat(source).st_ino, os.lstat(to).st_ino
                is_dir, over_dir = make_name in ("dir", "full"), over_name in ("dir", "full")
                if is_dir and not over_dir:
                    fails(errno.ENOTDIR, os.rename, source, to)
                elif over_dir and not is_dir:
                    fails(errno.EISDIR, os.rename, source, to)
                elif over_name == "full":
                    fails((errno.ENOTEMPTY, errno.EEXIST), os.rename, source, to)
                else:
                    os.rename(source, to)
                    assert os.lstat(to).st_ino == ids[0] and not os.path.lexists(source)
                    os.rename(to, source)
                    make_over(to)
                    ids = ids[0], os.lstat(to).st_ino
                assert (os.lstat(source).st_ino, os.lstat(to).st_ino) == ids, (source, to)
                for path in (source, to):
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) \
                        else os.unlink(path)
    assert os.listdir(d) == ["there"] and os.listdir(d + "/there") == []


def case_sticky(d):
    """In a sticky directory only a name's owner, the directory's, and root take it away."""
    if os.geteuid() != 0:
        return
    os.mkdir(d + "/tmp")
    os.chmod(d + "/tmp", 0o1777)
    at = os.open(d + "/tmp", os.O_RDONLY | os.O_DIRECTORY)  # others cannot walk to it

    def make(name, uid):
        os.mkdir(f"{d}/tmp/{name}") if name.endswith("d") else put(f"{d}/tmp/{name}", b"")
        os.chown(f"{d}/tmp/{name}", uid, uid)

    def tries(uid, want):
        for uid_of_name in (1000, 2000):
            for name in ("f", "d"):
                make(name, uid_of_name)
                make("other" + name, uid)
                remove = os.rmdir if name == "d" else os.unlink
                may = want or uid == uid_of_name
                for call, args, named in (
                    (os.rename, (name, "to"), {"src_dir_fd": at, "dst_dir_fd": at}),
                    (os.rename, ("other" + name, name), {"src_dir_fd": at, "dst_dir_fd": at}),
                    (remove, (name,), {"dir_fd": at}),
                ):
                    os.seteuid(uid)
                    try:
                        if may:
                            call(*args, **named)
                        else:
                            fails((errno.EPERM, errno.EACCES), call, *args, **named)
                    finally:
                        os.seteuid(0)
                    if os.path.exists(d + "/tmp/to"):
                        os.rename(d + "/tmp/to", f"{d}/tmp/{name}")
                for left in os.listdir(d + "/tmp"):
                    remove(f"{d}/tmp/{left}")

    tries(0, True)
    tries(1000, False)
    os.chown(d + "/tmp", 1000, 0)
    tries(1000, True)
    tries(2000, False)
    os.close(at)


def case_rename_flags(d):
    put(d + "/a", b"a")
    put(d + "/b", b"b")
    fails(errno.EEXIST, renameat2, d + "/a", d + "/b", NOREPLACE)
    renameat2(d + "/a", d + "/c", NOREPLACE)
    assert get(d + "/c") == b"a"
    os.chmod(d + "/c", 0o600)
    renameat2(d + "/b", d + "/c", EXCHANGE)
    assert get(d + "/b") == b"a" and get(d + "/c") == b"b"
    assert stat.S_IMODE(os.stat(d + "/b").st_mode) == 0o600
    fails(errno.ENOENT, renameat2, d + "/b", d + "/none", EXCHANGE)
    os.mkdir(d + "/dir")
    put(d + "/dir/in", b"in")
    renameat2(d + "/b", d + "/dir", EXCHANGE)
    assert get(d + "/dir") == b"a" and get(d + "/b/in") == b"in"
    fails(errno.EINVAL, renameat2, d + "/dir", d + "/b/in", EXCHANGE)


def case_exchange_xattrs(d):
    """The attributes go with their file, also where both have some of the same name."""
    for name, mode in (("a", 0o640), ("b", 0o604), ("c", 0o755)):
        put(f"{d}/{name}", name.encode())
        os.chmod(f"{d}/{name}", mode)
    os.mkdir(d + "/dir")

    def check(where, who, mode, **want):
        path = f"{d}/{where}"
        assert get(path) == who.encode() and stat.S_IMODE(os.stat(path).st_mode) == mode
        have = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")}
        assert have == {"user." + n: v for n, v in want.items()}, (where, have)

    os.setxattr(d + "/a", "user.one", b"a1")
    os.setxattr(d + "/a", "user.both", b"a")
    os.setxattr(d + "/b", "user.two", b"b2")
    os.setxattr(d + "/b", "user.both", b"b")
    for i in range(2):
        renameat2(d + "/a", d + "/b", EXCHANGE)
        check("b", "a", 0o640, one=b"a1", both=b"a")
        check("a", "b", 0o604, two=b"b2", both=b"b")
        renameat2(d + "/b", d + "/a", EXCHANGE)
    renameat2(d + "/a", d + "/c", EXCHANGE)  # one side has none
    check("a", "c", 0o755)
    check("c", "a", 0o640, one=b"a1", both=b"a")
    renameat2(d + "/dir", d + "/c", EXCHANGE)
    os.setxattr(d + "/c", "user.both", b"dir")
    renameat2(d + "/dir", d + "/c", EXCHANGE)
    check("c", "a", 0o640, one=b"a1", both=b"a")
    assert os.getxattr(d + "/dir", "user.both") == b"dir"
    os.unlink(d + "/c")
    put(d + "/c", b"c")
    os.chmod(d + "/c", 0o600)
    check("c", "c", 0o600)


def case_exchange_links(d):
    os.mkdir(d + "/other")
    for own in (False, True):  # the inode's row beside its names; in a group of its own
        names = ("l1", "l2", "f", "m1", "m2")
        for name in ("l", "m"):
            put(f"{d}/{name}1", name.encode() * 3)
            os.link(f"{d}/{name}1", f"{d}/{name}2")
            os.setxattr(f"{d}/{name}2", "user.k", name.encode())
            if own:
                os.link(f"{d}/{name}1", f"{d}/other/{name}3")
        put(d + "/f", b"plain")
        os.setxattr(d + "/f", "user.k", b"f")
        fd = os.open(d + "/l1", os.O_RDWR)

        def check(*want):
            for name, who in zip(names, want):
                path = f"{d}/{name}"
                data = {"l": b"lll", "m": b"mmm", "f": b"plain"}[who]
                assert get(path) == data, (name, get(path))
                assert os.stat(path).st_nlink == (1 if who == "f" else 3 if own else 2), name
                assert os.getxattr(path, "user.k") == who.encode(), name

        check("l", "l", "f", "m", "m")
        renameat2(d + "/l1", d + "/f", EXCHANGE)  # a link and a file of one name
        check("f", "l", "l", "m", "m")
        renameat2(d + "/l1", d + "/m1", EXCHANGE)
        check("m", "l", "l", "f", "m")
        renameat2(d + "/f", d + "/m2", EXCHANGE)  # names of two linked files
        check("m", "l", "m", "f", "l")
        renameat2(d + "/l2", d + "/m2", EXCHANGE)  # two names of one
        check("m", "l", "m", "f", "l")
        os.pwrite(fd, b"LLL", 0)  # the open file follows
        os.close(fd)
        assert get(d + "/l2") == b"LLL" and get(d + "/m2") == b"LLL"
        os.unlink(d + "/l2")
        os.unlink(d + "/f")
        if own:
            os.unlink(d + "/other/l3")
            os.unlink(d + "/other/m3")
        assert os.stat(d + "/m2").st_nlink == 1 and get(d + "/m2") == b"LLL"
        assert os.stat(d + "/l1").st_nlink == 1 and get(d + "/l1") == b"mmm"
        for name in ("l1", "m1", "m2"):
            os.unlink(f"{d}/{name}")
        assert os.listdir(d) == ["other"]


def case_rename_open(d):
    fd = os.open(d + "/tmp", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"one")
    os.rename(d + "/tmp", d + "/final")
    assert get(d + "/final") == b"one"
    os.write(fd, b"two")
    os.close(fd)
    assert get(d + "/final") == b"onetwo" and os.listdir(d) == ["final"]
    put(d + "/other", b"other")
    fd = os.open(d + "/final", os.O_RDONLY)
    os.rename(d + "/other", d + "/final")
    assert os.read(fd, 100) == b"onetwo"
    os.close(fd)
    assert get(d + "/final") == b"other"


def case_links(d):
    put(d + "/a", b"data")
    os.chmod(d + "/a", 0o604)
    os.link(d + "/a", d + "/b")
    assert os.stat(d + "/a").st_nlink == 2 and os.stat(d + "/b").st_ino == os.stat(d + "/a").st_ino
    assert stat.S_IMODE(os.stat(d + "/b").st_mode) == 0o604
    with open(d + "/b", "ab") as f:
        f.write(b"+")
    assert get(d + "/a") == b"data+"
    os.link(d + "/b", d + "/c")
    assert os.stat(d + "/c").st_nlink == 3
    fails(errno.EEXIST, os.link, d + "/a", d + "/b")
    os.unlink(d + "/a")
    assert os.stat(d + "/b").st_nlink == 2 and get(d + "/c") == b"data+"
    os.rename(d + "/b", d + "/b2")
    assert get(d + "/b2") == b"data+" and os.stat(d + "/b2").st_nlink == 2
    os.chmod(d + "/c", 0o600)
    assert stat.S_IMODE(os.stat(d + "/b2").st_mode) == 0o600
    os.unlink(d + "/c")
    assert os.stat(d + "/b2").st_nlink == 1 and get(d + "/b2") == b"data+"
    assert stat.S_IMODE(os.stat(d + "/b2").st_mode) == 0o600
    put(d + "/b2", b"again")
    assert get(d + "/b2") == b"again" and os.listdir(d) == ["b2"]
    os.unlink(d + "/b2")
    assert os.listdir(d) == []


def case_links_rename_over(d):
    put(d + "/a", b"A")
    os.link(d + "/a", d + "/b")
    put(d + "/n", b"N")
    os.rename(d + "/n", d + "/b")
    assert get(d + "/b") == b"N" and get(d + "/a") == b"A" and os.stat(d + "/a").st_nlink == 1
    os.link(d + "/a", d + "/c")
    os.rename(d + "/a", d + "/c")  # two names of one file: nothing happens
    assert os.path.exists(d + "/a") and os.stat(d + "/c").st_nlink == 2
    # git: temporary name, final name, the temporary one goes
    fd = os.open(d + "/tmp_obj", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444)
    os.write(fd, b"object")
    os.close(fd)
    os.link(d + "/tmp_obj", d + "/obj")
    os.unlink(d + "/tmp_obj")
    assert get(d + "/obj") == b"object" and os.stat(d + "/obj").st_nlink == 1


def case_links_across(d):
    os.mkdir(d + "/x")
    os.mkdir(d + "/y")
    put(d + "/x/a", pattern(5000))
    os.link(d + "/x/a", d + "/y/b")
    assert os.stat(d + "/x/a").st_nlink == 2 and get(d + "/y/b") == pattern(5000)
    os.link(d + "/y/b", d + "/y/c")
    with open(d + "/y/c", "r+b") as f:
        f.write(b"changed")
    assert get(d + "/x/a")[:7] == b"changed" and os.stat(d + "/x/a").st_nlink == 3
    os.rename(d + "/y/c", d + "/x/c")
    assert get(d + "/x/c")[:7] == b"changed"
    os.unlink(d + "/x/a")
    assert os.stat(d + "/y/b").st_nlink == 2
    os.unlink(d + "/y/b")
    assert os.stat(d + "/x/c").st_nlink == 1
    os.unlink(d + "/x/c")
    put(d + "/x/p", b"p")
    os.link(d + "/x/p", d + "/x/q")
    os.link(d + "/x/q", d + "/y/r")
    assert sorted(os.listdir(d + "/x")) == ["p", "q"] and get(d + "/y/r") == b"p"
    assert os.stat(d + "/x/p").st_nlink == 3
    for name in ("/x/p", "/x/q", "/y/r"):
        os.unlink(d + name)
    os.rmdir(d + "/x")
    os.rmdir(d + "/y")


def case_links_same_name(d):
    """A link from another directory leaves a file alone that has the first name here."""
    os.mkdir(d + "/1")
    os.mkdir(d + "/2")
    put(d + "/1/f", b"first")
    os.listdir(d + "/1")  # read from the cluster, not only made here
    put(d + "/2/f", b"second")
    os.listdir(d + "/2")
    os.link(d + "/1/f", d + "/2/e")
    assert get(d + "/2/f") == b"second" and get(d + "/1/f") == get(d + "/2/e") == b"first"
    put(d + "/2/e", b"both")
    assert get(d + "/1/f") == b"both"
    os.unlink(d + "/2/e")
    os.unlink(d + "/2/f")
    assert os.listdir(d + "/2") == []
    os.rmdir(d + "/2")
    assert get(d + "/1/f") == b"both"


def case_links_first_gone(d):
    """The name by which a file was made goes first; the others can be linked and renamed on."""
    for n in (1, 2):
        put(d + "/a", b"%d" % n)
        os.mkdir(f"{d}/dir{n}")
        other = f"{d}/dir{n}/b" if n == 2 else d + "/b"
        os.link(d + "/a", other)
        os.link(other, d + "/b2")
        os.unlink(d + "/a")
        os.link(other, d + "/c")
        os.link(d + "/c", f"{d}/dir{n}/e")
        assert os.stat(d + "/c").st_nlink == 4
        os.rename(d + "/c", f"{d}/dir{n}/c")
        assert get(f"{d}/dir{n}/c") == get(f"{d}/dir{n}/e") == get(other) == b"%d" % n
        os.unlink(other)
        os.unlink(d + "/b2")
        assert os.stat(f"{d}/dir{n}/c").st_nlink == 2


def case_links_many(d):
    """Contents that leave no room for the names in the row; the most names that a file can have."""
    most = 128
    os.mkdir(d + "/other")
    for size, across in ((61_440, False), (61_000, True), (40_000, False), (3_000_000, False),
                         (5, True)):
        data = pattern(size, size)
        names = [f"{d}/{i:03}" + "n" * 252 for i in range(most)]
        if across:
            names[1::2] = [name.replace(d, d + "/other") for name in names[1::2]]
        put(names[0], data)
        for i, name in enumerate(names[1:], 1):
            os.link(names[0], name)
            if i in (50, 90):  # also where it is open, and where it has just been written
                data = data[:-1] + b"%d" % (i % 10)
                with open(name, "r+b") as f:
                    f.seek(-1, os.SEEK_END)
                    f.write(data[-1:])
        assert os.stat(names[0]).st_nlink == most
        fails(errno.EMLINK, os.link, names[7], d + "/more")
        for name in names[:: most // 8]:
            assert get(name) == data, (size, name)
        os.rename(names[3], d + "/renamed")
        names[3] = d + "/renamed"
        os.truncate(names[9], size - 2)
        assert get(names[3]) == data[:-2]
        for name in names[1:]:
            os.unlink(name)
        assert get(names[0]) == data[:-2] and os.stat(names[0]).st_nlink == 1
        os.unlink(names[0])


def case_symlinks(d):
    os.symlink("target/of it", d + "/s")
    assert os.readlink(d + "/s") == "target/of it" and os.lstat(d + "/s").st_size == 12
    fails(errno.EEXIST, os.symlink, "x", d + "/s")
    fails(errno.ENOENT, get, d + "/s")
    put(d + "/f", b"1")
    os.symlink("f", d + "/t")
    assert get(d + "/t") == b"1"
    os.symlink("y" * 4000, d + "/long")
    assert len(os.readlink(d + "/long")) == 4000
    os.rename(d + "/t", d + "/u")
    assert os.readlink(d + "/u") == "f"
    os.symlink("loop", d + "/loop")
    fails(errno.ELOOP, get, d + "/loop")
    os.symlink("pong", d + "/ping")
    os.symlink("ping", d + "/pong")
    for call in (get, os.stat, os.listdir, os.chdir, lambda p: os.truncate(p, 0)):
        fails(errno.ELOOP, call, d + "/ping")
    fails(errno.ELOOP, os.mkdir, d + "/ping/x")
    fails(errno.EEXIST, os.mkdir, d + "/ping")
    fails(errno.ELOOP, os.open, d + "/u", os.O_RDONLY | os.O_NOFOLLOW)
    os.symlink("f", d + "/c0")
    for i in range(1, 45):
        os.symlink(f"c{i - 1}", f"{d}/c{i}")
    assert get(d + "/c39") == b"1"  # 40 links
    fails(errno.ELOOP, get, d + "/c40")
    os.symlink("z" * 4095, d + "/longest")
    assert os.readlink(d + "/longest") == "z" * 4095
    fails(errno.ENAMETOOLONG, os.symlink, "z" * 4096, d + "/longer")
    fails(errno.ENOENT, os.symlink, "", d + "/empty")


def case_open_unlinked(d):
    fd = os.open(d + "/u", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"before")
    os.unlink(d + "/u")
    os.write(fd, b"after")
    assert os.pread(fd, 100, 0) == b"beforeafter"
    assert os.fstat(fd).st_nlink == 0 and os.fstat(fd).st_size == 11
    os.ftruncate(fd, 3)
    os.fsync(fd)
    os.close(fd)
    assert os.listdir(d) == []
    put(d + "/v", pattern(SIZE))
    fd = os.open(d + "/v", os.O_RDWR)
    os.unlink(d + "/v")
    put(d + "/v", b"new")
    assert os.pread(fd, 10, 100) == pattern(SIZE)[100:110]
    os.pwrite(fd, b"zzz", 0)
    os.close(fd)
    assert get(d + "/v") == b"new"


def case_unlinked_calls(d):
    """Whatever can be done through a handle can be done without a name."""
    fd = os.open(d + "/u", os.O_CREAT | os.O_RDWR, 0o600)
    put(d + "/v", b"v")
    os.unlink(d + "/u")
    os.fchmod(fd, 0o644)
    os.utime(fd, ns=(5, 6))
    os.write(fd, pattern(SIZE))
    fallocate(fd, 3, 1000, 1000)
    os.ftruncate(fd, SIZE + 10)
    os.fsync(fd)
    other = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)  # opened again
    m = mmap.mmap(other, SIZE)
    m[0:3] = b"map"
    s = os.fstat(fd)
    assert stat.S_IMODE(s.st_mode) == 0o644 and s.st_nlink == 0 and s.st_size == SIZE + 10
    want = b"map" + pattern(SIZE)[3:1000] + b"\0" * 1000 + pattern(SIZE)[2000:] + b"\0" * 10
    assert os.pread(fd, 2 * SIZE, 0) == want
    m.close()
    os.close(other)
    link = (-100, f"/proc/self/fd/{fd}".encode(), -100, d.encode() + b"/again", 0x400)
    assert LIBC.linkat(*link) == -1 and ctypes.get_errno() == errno.ENOENT  # AT_SYMLINK_FOLLOW
    to = os.open(d + "/v", os.O_WRONLY | os.O_TRUNC)
    assert os.copy_file_range(fd, to, SIZE + 10, 0) == SIZE + 10
    os.close(to)
    assert get(d + "/v") == want
    os.close(fd)
    os.mkdir(d + "/gone")
    at = os.open(d + "/gone", os.O_RDONLY)
    os.rmdir(d + "/gone")
    assert os.fstat(at).st_nlink == 0 and os.listdir(at) == []
    fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    fails(errno.ENOENT, os.mkdir, "x", dir_fd=at)
    fails(errno.ENOENT, os.link, d + "/v", "x", dst_dir_fd=at)
    fails(errno.ENOENT, os.rename, d + "/v", "x", dst_dir_fd=at)
    os.close(at)
    assert os.listdir(d) == ["v"]


def case_readdir(d):
    names = {f"f{i:05d}" for i in range(5000)}
    for name in names:
        os.close(os.open(d + "/" + name, os.O_CREAT | os.O_WRONLY))
    stop = threading.Event()

    def churn():
        i = 0
        while not stop.is_set():
            put(f"{d}/churn{i % 50}", b"")
            if i % 50 > 10:
                os.unlink(f"{d}/churn{i % 50}")
            i += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3):
            seen = [e.name for e in os.scandir(d)]
            steady = [n for n in seen if n.startswith("f")]
            assert len(steady) == 5000 and set(steady) == names, len(steady)
    finally:
        stop.set()
        thread.join()
    it = os.scandir(d)
    got = [next(it).name]
    for name in list(names)[:2500]:
        os.unlink(d + "/" + name)
    left = names - set(list(names)[:2500])
    got += [e.name for e in it]
    assert left <= set(got) and len(got) == len(set(got))
    shutil.rmtree(d)
    os.mkdir(d)


def case_mknod(d):
    os.mkfifo(d + "/fifo", 0o644)
    assert stat.S_ISFIFO(os.stat(d + "/fifo").st_mode)
    fails(errno.EEXIST, os.mkfifo, d + "/fifo")
    reader = os.open(d + "/fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(d + "/fifo", os.O_WRONLY)
    os.write(writer, b"pipe")
    assert os.read(reader, 10) == b"pipe"
    os.close(reader)
    os.close(writer)
    os.mknod(d + "/reg", 0o600 | stat.S_IFREG)
    assert get(d + "/reg") == b""
    if os.geteuid() == 0:
        os.mknod(d + "/dev", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        assert os.stat(d + "/dev").st_rdev == os.makedev(1, 3)


def case_sync_and_wait(d):
    fd = os.open(d + "/s", os.O_CREAT | os.O_WRONLY | os.O_SYNC)
    os.write(fd, b"sync")
    os.close(fd)
    put_before = FAKE.files() if FAKE else 0
    fd = os.open(d + "/w", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"1")

    def flushed():  # by the timer, within about a second: a close would do it, too
        assert os.pread(fd, 9, 0) == b"1"
        return not FAKE or FAKE.files() > put_before

    wait_for("what waits to be put", flushed)
    assert get(d + "/w") == b"1"
    os.write(fd, b"2")
    os.fsync(fd)
    os.close(fd)
    assert get(d + "/w") == b"12" and get(d + "/s") == b"sync"
    dirfd = os.open(d, os.O_RDONLY)
    os.fsync(dirfd)
    os.close(dirfd)


def case_locks(d):
    put(d + "/l", b"")
    with open(d + "/l") as a, open(d + "/l") as b:
        fcntl.flock(a, fcntl.LOCK_EX)
        fails(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)


def case_statfs(d):
    s = os.statvfs(d)
    assert s.f_namemax == 255 and s.f_bsize > 0


def case_many_threads(d):
    bad = []

    def work(i):
        try:
            os.mkdir(f"{d}/t{i}")
            for k in range(40):
                put(f"{d}/t{i}/f{k}", b"%d" % k)
                os.rename(f"{d}/t{i}/f{k}", f"{d}/t{i}/g{k}")
                assert get(f"{d}/t{i}/g{k}") == b"%d" % k
                if k % 2:
                    os.unlink(f"{d}/t{i}/g{k}")
            assert len(os.listdir(f"{d}/t{i}")) == 20
        except Exception:
            bad.append(traceback.format_exc())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not bad, bad[0]


def case_make_race(d):
    """Of several who make one name at the same time exactly one succeeds, whatever it is."""
    makers = [os.mkdir, lambda p: os.symlink("target", p), os.mkfifo, os.mkdir,
              lambda p: os.close(os.open(p, os.O_CREAT | os.O_EXCL))]
    made = []

    def work(make):
        for i in range(50):
            try:
                make(f"{d}/n{i}")
                made.append(i)
            except FileExistsError:
                pass

    threads = [threading.Thread(target=work, args=(m,)) for m in makers]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(made) == list(range(50)), sorted(made)
    assert len(os.listdir(d)) == 50
    for i in range(50):
        kind = os.lstat(f"{d}/n{i}").st_mode
        if stat.S_ISDIR(kind):
            os.rmdir(f"{d}/n{i}")
        else:
            assert not stat.S_ISLNK(kind) or os.readlink(f"{d}/n{i}") == "target"
            os.unlink(f"{d}/n{i}")
    assert os.listdir(d) == []


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    sys.exit(run(sys.argv[1], sys.argv[2:], globals()))
