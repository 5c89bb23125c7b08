#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""contents.py DIR [NAME...]: as posix.py, of what is in files: maps, O_DIRECT, appends, holes,
fallocate, copy_file_range and files of a terabyte."""
import errno
import mmap
import os
import stat
import subprocess
import sys
import time

from cases import fails, fallocate, get, pattern, put, run
from fake import wait_for

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
PAGE = 4096
KEEP, PUNCH, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64  # linux/falloc.h
SIZE_MAX = 1 << 60  # KITH_FILE_SIZE_MAX


def opened(path, flags=os.O_RDWR | os.O_CREAT):
    return os.open(path, flags, 0o666)


def case_mmap(d):
    put(d + "/m", pattern(100_000))
    with open(d + "/m", "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
        assert m[:] == pattern(100_000)
        m[5000:5005] = b"MMAP!"
        m.flush()
        m[90_000:90_003] = b"end"
        m.close()
    data = get(d + "/m")
    assert data[5000:5005] == b"MMAP!" and data[90_000:90_003] == b"end"


def case_mmap_shared(d):
    """A shared map and read and write are of the same bytes, in every process."""
    for size in (PAGE * 3, 300 * KIB):
        want = bytearray(pattern(size))
        put(d + "/m", want)
        fd = opened(d + "/m")
        m = mmap.mmap(fd, size)
        assert m[:] == want
        os.pwrite(fd, b"written", PAGE - 3)  # over a page's end
        want[PAGE - 3:PAGE + 4] = b"written"
        assert m[:] == want
        m[10:16] = b"mapped"
        want[10:16] = b"mapped"
        assert os.pread(fd, size, 0) == want and get(d + "/m") == want
        pid = os.fork()
        if pid == 0:
            m[size - 5:] = b"child"
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        want[size - 5:] = b"child"
        assert m[:] == want
        os.close(fd)  # the map stays
        m[100:105] = b"later"
        want[100:105] = b"later"
        m.flush()
        assert get(d + "/m") == want
        m[200:204] = b"last"  # not flushed: munmap alone
        want[200:204] = b"last"
        m.close()
        assert get(d + "/m") == want
        os.unlink(d + "/m")


def case_mmap_grows(d):
    """A map beyond what was there: made larger first, as linkers and databases do."""
    fd = opened(d + "/m")
    os.ftruncate(fd, MIB)
    m = mmap.mmap(fd, MIB)
    m[MIB - 3:] = b"end"
    m[500_000:500_003] = b"mid"
    before = os.fstat(fd).st_mtime_ns
    m.flush()
    assert os.fstat(fd).st_mtime_ns >= before
    os.ftruncate(fd, 2 * MIB)
    m.resize(2 * MIB)
    m[2 * MIB - 1] = 7
    m.close()
    os.close(fd)
    data = get(d + "/m")
    assert len(data) == 2 * MIB and data[MIB - 3:MIB] == b"end" and data[-1] == 7
    assert data[500_000:500_003] == b"mid" and data.count(0) == 2 * MIB - 7
    fd = opened(d + "/m")
    m = mmap.mmap(fd, 2 * MIB)
    os.unlink(d + "/m")  # what is mapped stays
    os.close(fd)
    m[0:2] = b"ok"
    assert m[0:2] == b"ok" and m[MIB - 3:MIB] == b"end"
    m.close()


def case_mmap_private(d):
    data = pattern(5 * PAGE)
    put(d + "/m", data)
    fd = opened(d + "/m")
    m = mmap.mmap(fd, 5 * PAGE, flags=mmap.MAP_PRIVATE)
    m[0:4] = b"mine"
    assert m[0:4] == b"mine" and get(d + "/m") == data
    os.pwrite(fd, b"theirs", 2 * PAGE)
    assert m[2 * PAGE:2 * PAGE + 6] == b"theirs"  # a page that was not written to here
    assert m[0:4] == b"mine"
    m.close()
    os.close(fd)
    assert get(d + "/m")[:4] == data[:4]
    fd = opened(d + "/m", os.O_RDONLY)
    fails(errno.EACCES, mmap.mmap, fd, PAGE, mmap.MAP_SHARED)
    mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE).close()
    os.close(fd)
    os.chmod(d + "/m", 0o755)
    put(d + "/run", b"#!/bin/sh\nexit 7\n")
    os.chmod(d + "/run", 0o755)
    assert subprocess.run([d + "/run"]).returncode == 7


def case_direct(d):
    """O_DIRECT: unbuffered, and of the same bytes as what is buffered."""
    size = 64 * PAGE
    buffer = mmap.mmap(-1, size)  # aligned
    want = bytearray(pattern(size))
    buffer[:] = bytes(want)
    fd = opened(d + "/f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwritev(fd, [buffer], 0) == size
    assert get(d + "/f") == want
    with open(d + "/f", "r+b") as f:
        f.seek(PAGE)
        f.write(b"buffered")
    want[PAGE:PAGE + 8] = b"buffered"
    back = mmap.mmap(-1, size)
    assert os.preadv(fd, [back], 0) == size and back[:] == want
    with open(d + "/f", "rb") as f:
        assert f.read() == want  # now in the page cache
        page = mmap.mmap(-1, PAGE)
        page[:] = b"d" * PAGE
        assert os.pwritev(fd, [page], 2 * PAGE) == PAGE
        want[2 * PAGE:3 * PAGE] = b"d" * PAGE
        f.seek(0)
        assert f.read() == want
    assert os.preadv(fd, [page], size) == 0  # at the end
    assert os.preadv(fd, [page], size - PAGE) == PAGE
    os.ftruncate(fd, size - 100)
    assert os.preadv(fd, [page], size - PAGE) == PAGE - 100
    os.close(fd)
    fd = opened(d + "/f", os.O_WRONLY | os.O_DIRECT | os.O_APPEND)
    assert os.writev(fd, [page]) == PAGE
    os.close(fd)
    assert get(d + "/f") == want[:-100] + page[:]


def case_append_processes(d):
    code = "import os,sys\nfd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n" \
           "[os.write(fd,b'%s-%03d\\n'%(sys.argv[2].encode(),i)) for i in range(100)]"
    ps = [subprocess.Popen([sys.executable, "-c", code, d + "/log", str(i)]) for i in range(4)]
    assert all(p.wait() == 0 for p in ps)
    lines = get(d + "/log").split(b"\n")[:-1]
    assert len(lines) == 400 and len(set(lines)) == 400, len(lines)


def case_append_many(d):
    """Appends from many processes, and of sizes that do not fit a page: none is torn or lost."""
    code = "import os, sys\n" \
           "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n" \
           "for i in range(40): os.write(fd, (sys.argv[2] * 6001 + '\\n').encode())\n"
    names = "abcdef"
    ps = [subprocess.Popen([sys.executable, "-c", code, d + "/log", name]) for name in names]
    assert all(p.wait() == 0 for p in ps)
    lines = get(d + "/log").split(b"\n")
    assert lines.pop() == b"" and len(lines) == 40 * len(names), len(lines)
    assert all(len(line) == 6001 and len(set(line)) == 1 for line in lines)
    fd = opened(d + "/a", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"one")
    os.pwrite(fd, b"two", 0)  # Linux: at the end all the same
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"three")
    assert os.lseek(fd, 0, os.SEEK_CUR) == 11
    os.ftruncate(fd, 2)
    os.write(fd, b"!")
    os.close(fd)
    assert get(d + "/a") == b"on!"


class Child:
    """Another process that has the file open, and does what it is told with its own descriptor."""
    def __init__(self, path, flags):
        code = "import os, sys\nfd = os.open(sys.argv[1], int(sys.argv[2]))\n" \
               "for line in sys.stdin: print(eval(line), flush=True)\n"
        self.run = subprocess.Popen([sys.executable, "-c", code, path, str(flags)], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line):
        self.run.stdin.write(line + "\n")
        self.run.stdin.flush()
        return eval(self.run.stdout.readline())

    def end(self):
        self.run.stdin.close()
        assert self.run.wait() == 0
        self.run.stdout.close()


def case_two_processes(d):
    """Both have the file open: what one writes the other reads at once, nothing being closed."""
    for size in (10, 300 * KIB):
        want = bytearray(pattern(size))
        put(d + "/f", want)
        fd = opened(d + "/f")
        child, appends = (Child(d + "/f", flags) for flags in (os.O_RDWR, os.O_WRONLY | os.O_APPEND))

        def same():
            assert os.pread(fd, MIB, 0) == want
            assert child("os.pread(fd, 1 << 20, 0)") == want and get(d + "/f") == want
            assert os.fstat(fd).st_size == os.stat(d + "/f").st_size == len(want)
            assert child("os.fstat(fd).st_size") == len(want)

        for i in range(8):
            os.pwrite(fd, b"%03d" % i, i % 7)
            want[i % 7:i % 7 + 3] = b"%03d" % i
            same()
            assert child(f"os.pwrite(fd, b'child{i:03}', {size} - 8)") == 8
            want[size - 8:size] = b"child%03d" % i
            same()
            assert appends(f"os.write(fd, b'more{i:03}')") == 7
            want += b"more%03d" % i
            same()
        for cut in (size // 2, size + 50, 0):
            child(f"os.ftruncate(fd, {cut})")
            want = want[:cut] + b"\0" * (cut - len(want))
            same()
        os.pwrite(fd, b"end", 5)
        want = bytearray(b"\0" * 5 + b"end")
        same()
        child.end()
        appends.end()
        os.close(fd)
        assert get(d + "/f") == want


def case_truncate_open(d):
    """A truncate by the name is one of what others have open, with something unsent or without."""
    for size in (100, 300 * KIB):
        for unsent in (False, True):
            data = pattern(size)
            put(d + "/f", data)
            fd, end = opened(d + "/f"), opened(d + "/f", os.O_WRONLY | os.O_APPEND)
            m = mmap.mmap(fd, size)
            assert m[:] == data
            if unsent:
                os.pwrite(fd, b"unsent", 0)
                data = b"unsent" + data[6:]
            assert subprocess.run(["truncate", "-s", "50", d + "/f"]).returncode == 0
            assert os.fstat(fd).st_size == 50 and os.pread(fd, size, 0) == data[:50]
            assert m[:PAGE] == data[:50] + b"\0" * (PAGE - 50) if size > PAGE else m[:50] == data[:50]
            os.write(end, b"+end")
            assert os.pread(fd, size, 0) == data[:50] + b"+end"
            os.truncate(d + "/f", 60)
            want = data[:50] + b"+end" + b"\0" * 6
            assert os.pread(fd, size, 0) == get(d + "/f") == want and os.fstat(end).st_size == 60
            os.close(opened(d + "/f", os.O_WRONLY | os.O_TRUNC))
            assert os.fstat(fd).st_size == 0 and os.pread(fd, size, 0) == b""
            os.pwrite(fd, b"last", 2)
            m.close()
            os.close(fd)
            os.close(end)
            assert get(d + "/f") == b"\0\0last"


def case_tmpfile(d):
    """Refused as programs expect, which then make a name."""
    fails(errno.EOPNOTSUPP, os.open, d, os.O_TMPFILE | os.O_RDWR, 0o600)
    fails(errno.EOPNOTSUPP, os.open, d, os.O_TMPFILE | os.O_RDWR, 0o600)  # the kernel remembers
    assert os.listdir(d) == []


def case_holes(d):
    fd = os.open(d + "/h", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"x" * 4096, 10 << 20)
    assert os.fstat(fd).st_size == (10 << 20) + 4096
    assert os.pread(fd, 4096, 1 << 20) == b"\0" * 4096
    os.fsync(fd)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 10 << 20
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 10 << 20, os.SEEK_HOLE) == (10 << 20) + 4096
    fails(errno.ENXIO, os.lseek, fd, 11 << 20, os.SEEK_DATA)
    assert os.fstat(fd).st_blocks * 512 < 1 << 20
    os.close(fd)


def parts(fd):
    """What of the file is data: (from, to)."""
    out, at = [], 0
    while True:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            return out
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        assert at > begin
        out.append((begin, at))


def case_holes_many(d):
    fd = opened(d + "/h")
    want = [(i * MIB, i * MIB + 2 * PAGE) for i in range(1, 40, 3)]
    for begin, end in want:
        os.pwrite(fd, b"x" * (end - begin), begin)
    for _ in range(2):  # before they are stored, and after
        covered = parts(fd)
        assert all(any(b <= x and y <= e for b, e in covered) for x, y in want), covered
        os.fsync(fd)
    assert parts(fd) == want
    os.ftruncate(fd, 100 * MIB)
    assert parts(fd) == want and os.lseek(fd, want[-1][1], os.SEEK_HOLE) == want[-1][1]
    assert os.lseek(fd, 100 * MIB - 1, os.SEEK_HOLE) == 100 * MIB - 1
    fails(errno.ENXIO, os.lseek, fd, 100 * MIB, os.SEEK_HOLE)
    fails(errno.ENXIO, os.lseek, fd, 100 * MIB, os.SEEK_DATA)
    fails((errno.ENXIO, errno.EINVAL), os.lseek, fd, -1, os.SEEK_DATA)
    fallocate(fd, PUNCH | KEEP, want[1][0], want[1][1] - want[1][0])
    os.fsync(fd)
    assert parts(fd) == want[:1] + want[2:]
    os.ftruncate(fd, want[2][0] + PAGE)
    assert parts(fd) == [want[0], (want[2][0], want[2][0] + PAGE)]
    os.fsync(fd)
    wait_for("the blocks to be counted", lambda: os.fstat(fd).st_blocks * 512 == 3 * PAGE)
    os.close(fd)
    subprocess.run(["cp", "--sparse=always", d + "/h", d + "/copy"], check=True)
    assert get(d + "/copy") == get(d + "/h")
    assert os.stat(d + "/copy").st_blocks * 512 < MIB


def case_fallocate(d):
    fd = os.open(d + "/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, pattern(200_000))
    fallocate(fd, 3, 10_000, 50_000)  # a hole
    want = bytearray(pattern(200_000))
    want[10_000:60_000] = b"\0" * 50_000
    assert os.pread(fd, 200_000, 0) == bytes(want)
    fallocate(fd, 0, 150_000, 100_000)
    assert os.fstat(fd).st_size == 250_000
    fallocate(fd, 1, 250_000, 100_000)
    assert os.fstat(fd).st_size == 250_000
    fallocate(fd, 16, 0, 1000)  # zero range
    want[0:1000] = b"\0" * 1000
    os.fsync(fd)
    os.close(fd)
    assert get(d + "/f") == bytes(want) + b"\0" * 50_000


def case_fallocate_modes(d):
    data = pattern(8 * PAGE)
    put(d + "/f", data)
    fd = opened(d + "/f")
    for mode in (COLLAPSE, INSERT, UNSHARE, PUNCH, COLLAPSE | KEEP, PUNCH | ZERO | KEEP, 1 << 20):
        fails(errno.EOPNOTSUPP, fallocate, fd, mode, 0, PAGE)
    assert get(d + "/f") == data
    fails(errno.EINVAL, fallocate, fd, 0, 0, 0)
    fails(errno.EINVAL, fallocate, fd, 0, -1, PAGE)
    fails(errno.EFBIG, fallocate, fd, 0, SIZE_MAX, PAGE)
    fallocate(fd, KEEP, 0, 20 * PAGE)
    assert os.fstat(fd).st_size == len(data) and get(d + "/f") == data
    fallocate(fd, 0, 0, 4 * PAGE)  # inside: nothing changes
    assert os.fstat(fd).st_size == len(data) and get(d + "/f") == data
    fallocate(fd, 0, 6 * PAGE, 4 * PAGE)
    want = bytearray(data + b"\0" * 2 * PAGE)
    assert os.fstat(fd).st_size == 10 * PAGE and get(d + "/f") == want
    fallocate(fd, PUNCH | KEEP, 100, 2 * PAGE)
    want[100:100 + 2 * PAGE] = b"\0" * 2 * PAGE
    assert get(d + "/f") == want
    fallocate(fd, PUNCH | KEEP, 9 * PAGE, 100 * PAGE)
    assert os.fstat(fd).st_size == 10 * PAGE and get(d + "/f") == want
    fallocate(fd, ZERO | KEEP, 5 * PAGE, 100 * PAGE)
    want[5 * PAGE:] = b"\0" * 5 * PAGE
    assert os.fstat(fd).st_size == 10 * PAGE and get(d + "/f") == want
    fallocate(fd, ZERO, 9 * PAGE, 2 * PAGE)
    want += b"\0" * PAGE
    assert os.fstat(fd).st_size == 11 * PAGE and get(d + "/f") == want
    m = mmap.mmap(fd, PAGE)
    assert m[200:300] == b"\0" * 100  # also what was mapped
    m[0:3] = b"map"
    fallocate(fd, PUNCH | KEEP, 0, PAGE)
    assert m[:] == b"\0" * PAGE
    m.close()
    before = os.fstat(fd)
    time.sleep(0.02)
    fallocate(fd, PUNCH | KEEP, 4 * PAGE, PAGE)
    after = os.fstat(fd)
    assert after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns
    os.posix_fallocate(fd, 0, 12 * PAGE)
    assert os.fstat(fd).st_size == 12 * PAGE
    os.close(fd)
    fd = opened(d + "/f", os.O_RDONLY)
    fails(errno.EBADF, fallocate, fd, 0, 0, PAGE)
    os.close(fd)


def case_copy_range(d):
    data = pattern(3_000_000, 7)
    put(d + "/from", data)
    a = os.open(d + "/from", os.O_RDONLY)
    b = os.open(d + "/to", os.O_CREAT | os.O_RDWR)
    done = 0
    while done < len(data):
        n = os.copy_file_range(a, b, len(data) - done)
        assert n > 0
        done += n
    os.close(a)
    os.close(b)
    assert get(d + "/to") == data
    put(d + "/from", b"changed")
    assert get(d + "/to") == data


def copy(a, b, size, at=None, to=None):
    done = 0
    while done < size:
        n = os.copy_file_range(a, b, size - done, None if at is None else at + done,
                               None if to is None else to + done)
        if n == 0:
            break
        done += n
    return done


def case_copy_within(d):
    data = pattern(3 * MIB, 5)
    put(d + "/f", data)
    fd = opened(d + "/f")
    want = bytearray(data)
    assert copy(fd, fd, MIB, 0, 2 * MIB) == MIB  # in one file
    want[2 * MIB:] = want[:MIB]
    assert os.pread(fd, 4 * MIB, 0) == want
    fails(errno.EINVAL, os.copy_file_range, fd, fd, MIB, 0, MIB // 2)  # overlapping
    assert copy(fd, fd, 10_000, 777, 5 * MIB + 13) == 10_000  # beyond the end, not aligned
    want += b"\0" * (2 * MIB + 13) + want[777:10_777]
    assert os.pread(fd, 8 * MIB, 0) == want
    os.fsync(fd)
    assert copy(fd, fd, 10, 6 * MIB) == 0  # behind the end
    os.pwrite(fd, b"unsent", 40)  # what has not been stored yet
    to = opened(d + "/to")
    assert copy(fd, to, 100, 0, 50) == 100
    os.pwrite(fd, b"UNSENT", 40)
    assert get(d + "/to") == b"\0" * 50 + want[:40] + b"unsent" + want[46:100]
    os.close(to)
    to = opened(d + "/to", os.O_WRONLY | os.O_APPEND)
    fails(errno.EBADF, os.copy_file_range, fd, to, 10)
    os.close(to)
    fails(errno.EISDIR, os.open, d, os.O_WRONLY)
    os.close(fd)
    if os.geteuid() == 0:
        os.chmod(d + "/to", 0o6777)
        at = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
        fd = opened(d + "/f", os.O_RDONLY)
        os.seteuid(65534)
        try:
            to = os.open("to", os.O_WRONLY, dir_fd=at)
            assert copy(fd, to, 10, 0, 0) == 10
        finally:
            os.seteuid(0)
        assert stat.S_IMODE(os.stat(d + "/to").st_mode) == 0o777
        os.close(to)
        os.close(fd)
        os.close(at)


def case_copy_shares(d):
    """Extents are shared: a gigabyte is copied in the time of some rows."""
    put(d + "/from", pattern(4 * MIB))
    a = opened(d + "/from")
    begin = time.monotonic()
    for i in range(8):
        os.fsync(a)
        assert copy(a, a, 4 * MIB << i, 0, 4 * MIB << i) == 4 * MIB << i
    b = opened(d + "/to")
    assert copy(a, b, 1 << 30, 0, 0) == 1 << 30
    os.fsync(b)
    assert time.monotonic() - begin < 20
    assert os.fstat(b).st_size == 1 << 30
    assert os.pread(b, MIB, (1 << 30) - MIB) == pattern(4 * MIB)[3 * MIB:]
    os.close(a)
    os.close(b)


def counted(d):
    """What the mount has counted since it began, by .kith/stats; {} where it is none of ours."""
    while not os.path.ismount(d):
        d = os.path.dirname(d)
    if not os.path.exists(d + "/.kith/stats"):
        return {}
    lines = (line.rsplit(" ", 1) for line in get(d + "/.kith/stats").decode().splitlines())
    return {key: float(value) for key, value in lines if not key.startswith("#")}


def case_copy_counts(d):
    """A copy sends and fetches no contents, however much it is: cp, too."""
    for size in (3 * MIB, 48 * MIB):
        with open(d + "/from", "wb") as f:
            for i in range(size // MIB):
                f.write(pattern(4096, i) * (MIB // 4096))
            os.fsync(f.fileno())
        a, b = opened(d + "/from", os.O_RDONLY), opened(d + "/to")
        before = counted(d)
        assert copy(a, b, size, 0, 0) == size
        os.fsync(b)
        assert copy(a, b, size // 2 + 1, 5, size) == size // 2 + 1  # not at the chunks' bounds
        os.fsync(b)
        subprocess.run(["cp", d + "/from", d + "/third"], check=True)
        after = counted(d)
        for what in ('calls_total{kind="chunk_put"}', 'calls_total{kind="chunk_get"}',
                     "written_bytes_total", "read_bytes_total", "cache_misses_total"):
            if before:
                key = "kithfs_" + what
                assert after.get(key, 0) == before.get(key, 0), (size, key)
        os.close(a)
        os.close(b)
        data = get(d + "/from")
        assert get(d + "/to") == data + data[5:size // 2 + 6] and get(d + "/third") == data
        for name in ("from", "to", "third"):
            os.unlink(f"{d}/{name}")


def case_terabyte(d):
    fd = opened(d + "/t")
    os.ftruncate(fd, TIB)
    assert os.fstat(fd).st_size == TIB and parts(fd) == []
    os.pwrite(fd, b"end", TIB - 3)
    os.pwrite(fd, b"middle", TIB // 2)
    os.pwrite(fd, b"begin", 0)
    os.fsync(fd)
    assert os.pread(fd, 10, TIB - 5) == b"\0\0end"
    assert os.pread(fd, 10, TIB // 2 - 1) == b"\0middle\0\0\0"
    assert os.pread(fd, 100, TIB) == b"" and os.pread(fd, 100, 2 * TIB) == b""
    assert os.fstat(fd).st_blocks * 512 < MIB
    assert len(parts(fd)) == 3 and parts(fd)[-1][1] == TIB
    m = mmap.mmap(fd, PAGE, offset=TIB - PAGE)
    assert m[PAGE - 3:] == b"end"
    m[0:3] = b"map"
    m.close()
    assert os.pread(fd, 3, TIB - PAGE) == b"map"
    to = opened(d + "/to")
    assert copy(fd, to, TIB, 0, 0) == TIB
    os.fsync(to)
    assert os.fstat(to).st_size == TIB and os.pread(to, 6, TIB // 2) == b"middle"
    assert os.pread(to, 3, TIB - 3) == b"end" and len(parts(to)) == len(parts(fd))
    os.close(to)
    fallocate(fd, PUNCH | KEEP, 1, TIB - 2)
    os.fsync(fd)
    assert os.pread(fd, 6, TIB // 2) == b"\0" * 6 and os.pread(fd, 2, TIB - 2) == b"\0d"
    fallocate(fd, ZERO, 0, TIB)
    assert os.fstat(fd).st_size == TIB and os.pread(fd, 1, TIB - 1) == b"\0"
    os.ftruncate(fd, SIZE_MAX)
    assert os.fstat(fd).st_size == SIZE_MAX
    fails(errno.EFBIG, os.ftruncate, fd, SIZE_MAX + 1)
    fails(errno.EFBIG, os.pwrite, fd, b"xy", SIZE_MAX)
    os.pwrite(fd, b"x", SIZE_MAX - 1)
    assert os.pread(fd, 2, SIZE_MAX - 1) == b"x"
    os.ftruncate(fd, 5)
    os.close(fd)
    assert get(d + "/t") == b"\0" * 5
    os.truncate(d + "/t", 5 * TIB)
    assert os.stat(d + "/t").st_size == 5 * TIB


def case_punch_durable(d):
    """What was punched, zeroed and cut stays so where the file grows over it again."""
    data = pattern(4 * MIB)
    put(d + "/f", data)
    os.truncate(d + "/f", MIB + 5)
    os.truncate(d + "/f", 4 * MIB)
    assert get(d + "/f") == data[:MIB + 5] + b"\0" * (3 * MIB - 5)
    fd = opened(d + "/f")
    os.ftruncate(fd, 3)
    os.pwrite(fd, b"z", 2 * MIB)
    os.close(fd)
    assert get(d + "/f") == data[:3] + b"\0" * (2 * MIB - 3) + b"z"


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    sys.exit(run(sys.argv[1], sys.argv[2:], globals()))
