#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""fsmodel.py MOUNT LOCAL [--seed S] [--seconds N | --ops N] [--processes P] [--check]

Random operations on a directory of the mount and of a local filesystem in lock step: results,
errnos, trees, contents and attributes must agree. Each process works in a directory of its own
(MOUNT/p0, LOCAL/p0, ...). A difference prints the last operations and the command that replays the
seed. --check only compares the two trees, as after a remount.

What is not compared: sizes and link counts of directories, times that nobody set, which of two
reasons an impossible call names when both hold."""
import argparse
import ctypes
import errno
import mmap
import multiprocessing
import os
import random
import shutil
import stat
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
SET_TIMES = 1_000_000_000  # seconds: times below twice this were set by an operation here
OPS_KEPT = 40  # shown with a difference
FILE_MAX = 3_000_000  # bytes: above a chunk, so that extents, chunks and inline contents occur
HANDLES_MAX = 8
VERBOSE = os.environ.get("KITH_VERBOSE") is not None  # every operation, as it is done


class Difference(Exception):
    pass


def renameat2(a, b, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fallocate(fd, mode, offset, size):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Handle:
    """One open file, on both sides."""

    def __init__(self, fds, flags):
        self.fds, self.flags = fds, flags
        self.readable = flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)
        self.writable = flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)


class Model:
    def __init__(self, mount, local, seed):
        self.tops = (mount, local)
        self.random = random.Random(seed)
        self.handles = []
        self.log = []
        self.count = 0

    # ---- the two sides ----

    def both(self, what, call):
        """call(side) on the mount and the local side; both results, or both errnos, must agree."""
        self.log = self.log[-OPS_KEPT:] + [what]
        self.count += 1
        if VERBOSE:
            print(f"{self.count} {what}", flush=True)
        results = []
        for side in (0, 1):
            try:
                results.append(("ok", call(side)))
            except OSError as e:
                results.append(("error", errno.errorcode.get(e.errno, e.errno)))
        if VERBOSE:
            print(f"    {str(results[1])[:100]}", flush=True)
        if results[0] != results[1]:
            shown = [str(r)[:200] for r in results]
            raise Difference(f"{what}: the mount says {shown[0]}, the local side {shown[1]}")
        return results[1]

    def path(self, name):
        return [os.path.join(top, name) for top in self.tops]

    def name(self):
        """Few names, so that operations meet; some odd ones."""
        pick = self.random.choice
        last = pick(["a", "b", "c", "d", "e", "f", "\udcff\udc80", "sp ace", "n" * 255, "\u00e4\n"])
        depth = pick([0, 0, 0, 1, 1, 2, 3])
        return "/".join([pick(["D", "E"]) for _ in range(depth)] + [last if pick([1, 1, 0]) else
                                                                    pick(["D", "E"])])

    def data(self):
        size = self.random.choice([0, 1, 10, 100, 4096, 5000, 70_000, 200_000])
        if self.random.random() < 0.03:
            size = 1_500_000
        return self.random.randbytes(self.random.randint(0, size))

    def offset(self):
        most = self.random.choice([0, 10, 5000, 100_000, FILE_MAX // 2])
        return self.random.randint(0, most)

    def when(self):
        seconds = SET_TIMES + self.random.randint(0, SET_TIMES // 2)
        return seconds * 10**9 + self.random.randint(0, 999)

    # ---- operations ----

    def op_put(self):
        name, data = self.name(), self.data()
        flags = os.O_WRONLY | os.O_CREAT | self.random.choice(
            [os.O_TRUNC, os.O_TRUNC, 0, os.O_EXCL, os.O_APPEND])

        def call(side):
            fd = os.open(self.path(name)[side], flags, 0o644)
            try:
                return os.write(fd, data)
            finally:
                os.close(fd)
        self.both(f"put {name!r} flags {flags:o} {len(data)} bytes", call)

    def op_get(self):
        name = self.name()

        def call(side):
            with open(self.path(name)[side], "rb") as f:
                return f.read()
        self.both(f"get {name!r}", call)

    def op_replace(self):
        """As editors do: a new file beside it, then rename."""
        name, data, sync = self.name(), self.data(), self.random.random() < 0.3
        new = name[:200] + ".tmp"

        def call(side):
            with open(self.path(new)[side], "wb") as f:
                f.write(data)
                if sync:
                    f.flush()
                    os.fsync(f.fileno())
            try:
                os.rename(self.path(new)[side], self.path(name)[side])
            except OSError:
                os.unlink(self.path(new)[side])
                raise
        self.both(f"replace {name!r} {len(data)} bytes", call)

    def op_open(self):
        if len(self.handles) >= HANDLES_MAX:
            return self.op_close()
        name = self.name()
        flags = self.random.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY])
        if flags != os.O_RDONLY:
            flags |= self.random.choice([0, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_TRUNC,
                                         os.O_CREAT | os.O_EXCL, os.O_APPEND])
        kept = []
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK

        def call(side):
            kept.append(os.open(self.path(name)[side], flags, 0o600))
        try:
            result = self.both(f"open {name!r} flags {flags:o}", call)
        except Difference:
            for fd in kept:
                os.close(fd)
            raise
        if result[0] == "ok":
            if stat.S_ISDIR(os.fstat(kept[1]).st_mode):
                for fd in kept:
                    os.close(fd)
            else:
                self.handles.append(Handle(kept, flags))
        return None

    def handle(self):
        return self.random.choice(self.handles) if self.handles else None

    def op_close(self):
        if not self.handles:
            return
        handle = self.handles.pop(self.random.randrange(len(self.handles)))
        self.both(f"close {handle.fds}", lambda side: os.close(handle.fds[side]))

    def op_handle_write(self):
        handle, data, offset = self.handle(), self.data(), self.offset()
        if handle is None:
            return
        if handle.flags & os.O_APPEND:
            self.both(f"append to {handle.fds} {len(data)} bytes",
                      lambda side: os.write(handle.fds[side], data))
        else:
            self.both(f"pwrite {handle.fds} {len(data)} bytes at {offset}",
                      lambda side: os.pwrite(handle.fds[side], data, offset))

    def op_handle_read(self):
        handle, offset, size = self.handle(), self.offset(), self.random.randint(0, 300_000)
        if handle is not None:
            self.both(f"pread {handle.fds} {size} bytes at {offset}",
                      lambda side: os.pread(handle.fds[side], size, offset))

    def op_handle_more(self):
        handle, size = self.handle(), self.offset()
        if handle is None:
            return
        what = self.random.choice(["truncate", "truncate", "sync", "datasync", "stat", "chmod",
                                   "utime", "punch", "allocate", "mmap", "end", "dup"])
        calls = {
            "truncate": lambda fd: os.ftruncate(fd, size),
            "sync": os.fsync,
            "datasync": os.fdatasync,
            "stat": lambda fd: (os.fstat(fd).st_size, os.fstat(fd).st_nlink),
            "chmod": lambda fd: os.fchmod(fd, 0o600 | size & 0o77),
            "utime": lambda fd: os.utime(fd, ns=(SET_TIMES * 10**9, (SET_TIMES + size) * 10**9)),
            "punch": lambda fd: fallocate(fd, 3, size, size + 1),
            "allocate": lambda fd: fallocate(fd, 0, 0, size + 1),
            "mmap": self.map_write,
            "end": lambda fd: os.lseek(fd, 0, os.SEEK_END),
            "dup": lambda fd: os.close(os.dup(fd)),
        }
        self.seed_inner = self.random.random()
        self.both(f"{what} {handle.fds} {size}", lambda side: calls[what](handle.fds[side]))

    def map_write(self, fd):
        size = os.fstat(fd).st_size
        if size == 0:
            return None
        with mmap.mmap(fd, size) as m:
            at = int(self.seed_inner * size)
            m[at:at + 1] = b"M"
            m.flush()
        return size

    def op_truncate(self):
        name, size = self.name(), self.offset()
        self.both(f"truncate {name!r} {size}",
                  lambda side: os.truncate(self.path(name)[side], size))

    def op_unlink(self):
        name = self.name()
        self.both(f"unlink {name!r}", lambda side: os.unlink(self.path(name)[side]))

    def op_mkdir(self):
        name = self.name()
        self.both(f"mkdir {name!r}", lambda side: os.mkdir(self.path(name)[side], 0o755))

    def op_rmdir(self):
        name = self.name()
        self.both(f"rmdir {name!r}", lambda side: os.rmdir(self.path(name)[side]))

    def op_rename(self):
        a, b = self.name(), self.name()
        self.both(f"rename {a!r} to {b!r}",
                  lambda side: os.rename(self.path(a)[side], self.path(b)[side]))

    def op_rename_flags(self):
        a, b = self.name(), self.name()
        flags = self.random.choice([1, 2])
        if flags == 2:
            b = os.path.join(os.path.dirname(a), os.path.basename(b))

        self.both(f"rename {a!r} to {b!r} flags {flags}",
                  lambda side: renameat2(self.path(a)[side], self.path(b)[side], flags))

    def op_link(self):
        a, b = self.name(), self.name()
        self.both(f"link {a!r} to {b!r}", lambda side: os.link(
            self.path(a)[side], self.path(b)[side], follow_symlinks=False))

    def op_symlink(self):
        target, name = self.name(), self.name()
        self.both(f"symlink {name!r} -> {target!r}",
                  lambda side: os.symlink(target, self.path(name)[side]))

    def op_fifo(self):
        name = self.name() if self.random.random() < 0.1 else None
        if name is not None:
            self.both(f"mknod {name!r}",
                      lambda side: os.mknod(self.path(name)[side], 0o644 | stat.S_IFREG))

    def op_chmod(self):
        name, mode = self.name(), self.random.choice([0o600, 0o644, 0o755, 0o700, 0o777])
        self.both(f"chmod {name!r} {mode:o}", lambda side: os.chmod(self.path(name)[side], mode))

    def op_utime(self):
        name, times = self.name(), (self.when(), self.when())
        self.both(f"utime {name!r} {times}",
                  lambda side: os.utime(self.path(name)[side], ns=times, follow_symlinks=False))

    def op_stat(self):
        name = self.name()

        def call(side):
            return self.seen(self.path(name)[side])
        self.both(f"stat {name!r}", call)

    def op_list(self):
        name = os.path.dirname(self.name())
        self.both(f"list {name!r}", lambda side: sorted(os.listdir(self.path(name)[side])))

    def op_xattr(self):
        name, key = self.name(), self.random.choice(["user.a", "user.b"])
        what = self.random.choice(["set", "get", "remove", "list"])
        value = self.random.randbytes(self.random.choice([0, 5, 300]))
        calls = {
            "set": lambda p: os.setxattr(p, key, value),
            "get": lambda p: os.getxattr(p, key),
            "remove": lambda p: os.removexattr(p, key),
            "list": lambda p: sorted(n for n in os.listxattr(p) if n.startswith("user.")),
        }
        self.both(f"{what} xattr {name!r} {key}", lambda side: calls[what](self.path(name)[side]))

    def op_copy(self):
        a, b = self.name(), self.name()

        def call(side):
            with open(self.path(a)[side], "rb") as f, open(self.path(b)[side], "wb") as g:
                size = os.fstat(f.fileno()).st_size
                done = 0
                while done < size:
                    n = os.copy_file_range(f.fileno(), g.fileno(), size - done)
                    if n == 0:
                        break
                    done += n
                return done
        self.both(f"copy {a!r} to {b!r}", call)

    def op_rmtree(self):
        name = self.random.choice(["D", "E"])
        if self.random.random() < 0.2:
            self.both(f"rmtree {name!r}", lambda side: shutil.rmtree(self.path(name)[side]))

    WEIGHTS = {"put": 12, "get": 8, "replace": 6, "open": 6, "close": 4, "handle_write": 10,
               "handle_read": 6, "handle_more": 8, "truncate": 3, "unlink": 6, "mkdir": 6,
               "rmdir": 3, "rename": 8, "rename_flags": 3, "link": 5, "symlink": 2, "fifo": 1,
               "chmod": 3, "utime": 3, "stat": 6, "list": 4, "xattr": 4, "copy": 2, "rmtree": 1}

    # ---- comparing ----

    @staticmethod
    def seen(path):
        s = os.lstat(path)
        what = [stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode)]
        if not stat.S_ISDIR(s.st_mode):
            what += [s.st_size, s.st_nlink]
        if not stat.S_ISDIR(s.st_mode) and s.st_mtime < 2 * SET_TIMES * 0.75:
            what.append(s.st_mtime_ns)
        if stat.S_ISLNK(s.st_mode):
            what.append(os.readlink(path))
        else:
            what.append({n: os.getxattr(path, n) for n in sorted(os.listxattr(path))
                         if n.startswith("user.")})
        return what

    def compare(self):
        trees = []
        for side in (0, 1):
            tree = {}
            for at, dirs, files in os.walk(self.tops[side]):
                for name in dirs + files:
                    path = os.path.join(at, name)
                    what = self.seen(path)
                    if what[0] == stat.S_IFREG:
                        with open(path, "rb") as f:
                            what.append(f.read())
                    tree[os.path.relpath(path, self.tops[side])] = what
            trees.append(tree)
        for name in sorted(set(trees[0]) | set(trees[1])):
            a, b = trees[0].get(name), trees[1].get(name)
            if a != b:
                raise Difference(f"{name!r}: the mount has {str(a)[:200]}, "
                                 f"the local side {str(b)[:200]}" + first_byte(a, b))

    def run(self, seconds, ops):
        names, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        end = time.monotonic() + seconds if seconds else None
        longest = (0.0, "")
        while time.monotonic() < end if end else self.count < ops:
            for _ in range(200):
                start = time.monotonic()
                getattr(self, "op_" + self.random.choices(names, weights)[0])()
                longest = max(longest, (time.monotonic() - start, self.log[-1] if self.log else ""))
            self.compare()
        while self.handles:
            self.op_close()
        self.compare()
        return longest


def first_byte(a, b):
    if not a or not b or not isinstance(a[-1], bytes) or not isinstance(b[-1], bytes):
        return ""
    same = next((i for i, (x, y) in enumerate(zip(a[-1], b[-1])) if x != y),
                min(len(a[-1]), len(b[-1])))
    return f"; contents ({len(a[-1])} and {len(b[-1])} bytes) differ from byte {same}"


def worker(number, args, bad):
    tops = [os.path.join(top, f"p{number}") for top in (args.mount, args.local)]
    seed = args.seed * 1000 + number
    model = Model(tops[0], tops[1], seed)
    try:
        if args.check:
            model.compare()
            print(f"p{number}: the trees agree", flush=True)
            return
        for top in tops:
            os.mkdir(top)
        longest = model.run(args.seconds, args.ops)
        print(f"seed {seed}: {model.count} operations, the longest (both sides) "
              f"{longest[0] * 1000:.0f} ms ({longest[1][:60]})", flush=True)
    except Exception as e:
        bad.value += 1
        ops = "\n".join("    " + line[:150] for line in model.log)
        kind = "DIFFERENCE" if isinstance(e, Difference) else type(e).__name__
        print(f"p{number}, seed {args.seed}, operation {model.count}: {kind}: {e}\n"
              f"  the last operations:\n{ops}\n"
              f"  replay: fsmodel.py MOUNT LOCAL --seed {args.seed} --ops {model.count + 200} "
              f"--processes {args.processes}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mount")
    parser.add_argument("local")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--ops", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    os.umask(0o022)
    print(f"seed {args.seed}", flush=True)
    bad = multiprocessing.Value("i", 0)
    children = [multiprocessing.Process(target=worker, args=(n, args, bad))
                for n in range(args.processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return 1 if bad.value or any(c.exitcode for c in children) else 0


if __name__ == "__main__":
    sys.exit(main())
