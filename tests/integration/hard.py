#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""hard.py: every operation at a mount whose nodes are all gone.

    hard.py make TOP COUNT        what the operations want, COUNT times
    hard.py run TOP COUNT DIR     one process for each of them; says "ready" when all wait for DIR/go
    hard.py soft DIR SECONDS      all have ended by then, with an error
    hard.py waits DIR             none has ended
    hard.py kill DIR I SIGNAL     those of number I: ended within a second after the signal
    hard.py done DIR I TOP SECONDS  those of number I have ended by then, with success, and did it

DIR has a file for each process: NAME.I.pid, and once it has ended NAME.I.out, "SECONDS ERRNO TEXT"."""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time

LARGE = 3 << 20
PIECE = bytes(range(256)) * 4096  # 1 MiB
libc = ctypes.CDLL(None, use_errno=True)


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


class Op:
    """begin: while the nodes are up; end: when they are gone; done: afterwards, it was done."""
    memory = False  # answered without the cluster

    def __init__(self, top):
        self.top = top

    def at(self, name):
        return os.path.join(self.top, name)

    def make(self):
        put(self.at("file"), b"before")

    def begin(self):
        pass

    def done(self):
        pass


class Stat(Op):
    def end(self):
        assert os.stat(self.at("file")).st_size == 6


class Ls(Op):
    def end(self):
        assert os.listdir(self.top) == ["file"]


class Open(Op):
    def end(self):
        os.close(os.open(self.at("file"), os.O_RDONLY))


class Read(Op):
    def make(self):
        put(self.at("file"), PIECE * 3)

    def begin(self):
        self.fd = os.open(self.at("file"), os.O_RDONLY)

    def end(self):
        assert os.pread(self.fd, 4096, LARGE - 8192) == PIECE[:4096]


class Write(Op):
    def begin(self):
        self.fd = os.open(self.at("file"), os.O_WRONLY)

    def end(self):
        try:
            assert os.write(self.fd, b"beyond") == 6
        finally:
            os.close(self.fd)

    def done(self):
        assert get(self.at("file")) == b"beyond"


class Large(Write):
    """more than a row holds: chunks"""
    def end(self):
        try:
            for _ in range(3):
                assert os.write(self.fd, PIECE) == len(PIECE)
        finally:
            os.close(self.fd)

    def done(self):
        assert get(self.at("file")) == PIECE * 3


class Fsync(Write):
    def end(self):
        assert os.write(self.fd, b"beyond") == 6
        os.fsync(self.fd)


class Echo(Op):
    def end(self):
        got = subprocess.run(["bash", "-c", 'echo x >"$1"', "bash", self.at("new")],
                             stderr=subprocess.DEVNULL).returncode
        if got != 0:
            raise OSError(errno.EIO, "echo ended with %d" % got)

    def done(self):
        assert get(self.at("new")) == b"x\n"


class Mkdir(Op):
    def end(self):
        os.mkdir(self.at("new"))

    def done(self):
        assert os.listdir(self.at("new")) == []


class Rename(Op):
    def end(self):
        os.rename(self.at("file"), self.at("new"))

    def done(self):
        assert os.listdir(self.top) == ["new"] and get(self.at("new")) == b"before"


class Away(Op):
    """a rename to another directory"""
    def make(self):
        super().make()
        os.mkdir(self.at("dir"))

    def end(self):
        os.rename(self.at("file"), self.at("dir/new"))

    def done(self):
        assert os.listdir(self.top) == ["dir"] and get(self.at("dir/new")) == b"before"


class Unlink(Op):
    def end(self):
        os.unlink(self.at("file"))

    def done(self):
        assert os.listdir(self.top) == []


class Link(Op):
    def end(self):
        os.link(self.at("file"), self.at("new"))

    def done(self):
        assert os.stat(self.at("file")).st_nlink == 2 and get(self.at("new")) == b"before"


class Setxattr(Op):
    def end(self):
        os.setxattr(self.at("file"), "user.colour", b"blue")

    def done(self):
        assert os.getxattr(self.at("file"), "user.colour") == b"blue"


class Getxattr(Op):
    def make(self):
        super().make()
        os.setxattr(self.at("file"), "user.colour", b"red")

    def end(self):
        assert os.getxattr(self.at("file"), "user.colour") == b"red"


class Truncate(Op):
    def end(self):
        os.truncate(self.at("file"), 3)

    def done(self):
        assert get(self.at("file")) == b"bef"


class Df(Op):
    memory = True

    def begin(self):
        self.mount = self.top
        while not os.path.ismount(self.mount):
            self.mount = os.path.dirname(self.mount)

    def end(self):
        subprocess.run(["df", self.mount], check=True, stdout=subprocess.DEVNULL)
        assert os.statvfs(self.mount).f_blocks > 0


class Sync(Op):
    memory = True

    def begin(self):
        self.fd = os.open(self.at("file"), os.O_RDONLY)

    def end(self):
        if libc.syncfs(self.fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs")


KINDS = {kind.__name__.lower(): kind for kind in (
    Stat, Ls, Open, Read, Write, Large, Fsync, Echo, Mkdir, Rename, Away, Unlink, Link, Setxattr,
    Getxattr, Truncate, Df, Sync)}


def place(top, name, i):
    return os.path.join(top, f"{name}.{i}")


def make(top, count):
    for name, kind in KINDS.items():
        for i in range(count):
            os.mkdir(place(top, name, i))
            kind(place(top, name, i)).make()
    os.sync()


def work(name, top, i, out):
    """A process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    op = KINDS[name](place(top, name, i))
    op.begin()
    put(os.path.join(out, f"{name}.{i}.ready"), b"")
    while not os.path.exists(os.path.join(out, "go")):
        time.sleep(0.01)
    start, code, text = time.monotonic(), 0, ""
    try:
        op.end()
    except OSError as error:
        code, text = error.errno, str(error)
    except BaseException as error:  # tells more than the end of a process
        code, text = -1, repr(error)
    result = os.path.join(out, f"{name}.{i}.out")
    put(result + "~", f"{time.monotonic() - start:.2f} {code} {text}".encode())
    os.rename(result + "~", result)


def run(top, count, out):
    for name in KINDS:
        for i in range(count):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                work(name, top, i, out)
                os._exit(0)
            put(os.path.join(out, f"{name}.{i}.pid"), str(pid).encode())
    want = len(KINDS) * count
    while sum(name.endswith(".ready") for name in os.listdir(out)) < want:
        time.sleep(0.01)
    print("ready", flush=True)
    while True:  # reaps them
        try:
            os.wait()
        except ChildProcessError:
            return


def result_of(out, name, i):
    path = os.path.join(out, f"{name}.{i}.out")
    if not os.path.exists(path):
        return None
    seconds, code, text = get(path).decode().split(" ", 2)
    return float(seconds), int(code), text


def until(seconds, condition):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def complain(wrong):
    if wrong:
        sys.exit("\n".join(wrong))


def soft(out, seconds):
    until(seconds, lambda: all(result_of(out, name, 0) for name in KINDS))
    wrong = []
    for name, kind in KINDS.items():
        got = result_of(out, name, 0)
        if got is None:
            wrong.append(f"{name}: has not ended within {seconds} s")
        elif kind.memory and (got[1] != 0 or got[0] > 2):
            wrong.append(f"{name}: {got}")
        elif not kind.memory and got[1] not in (errno.EIO, errno.ETIMEDOUT):
            wrong.append(f"{name}: {got}")
        else:
            print(name, got)
    complain(wrong)


def waits(out):
    wrong = []
    for name in os.listdir(out):
        if name.endswith(".out"):
            kind, i, _ = name.split(".")
            got = result_of(out, kind, i)
            if not KINDS[kind].memory or got[1] != 0 or got[0] > 2:
                wrong.append(f"{name}: {got}")
    for name, kind in KINDS.items():
        if kind.memory and result_of(out, name, 0) is None:
            wrong.append(f"{name}: waits")
    complain(wrong)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(out, i, number):
    wrong = []
    for name, kind in KINDS.items():
        if kind.memory:
            continue
        pid = int(get(os.path.join(out, f"{name}.{i}.pid")))
        os.killpg(pid, number)
        start = time.monotonic()
        if not until(1, lambda: gone(pid)):
            wrong.append(f"{name}: not ended a second after signal {number}")
            until(10, lambda: gone(pid))
            wrong.append(f"    but after {time.monotonic() - start:.1f} s: {gone(pid)}")
    complain(wrong)


def done(out, i, top, seconds):
    until(seconds, lambda: all(result_of(out, name, i) for name in KINDS))
    wrong = []
    for name, kind in KINDS.items():
        got = result_of(out, name, i)
        try:
            if got is None:
                wrong.append(f"{name}: has not ended within {seconds} s")
            elif got[1] != 0:
                wrong.append(f"{name}: {got}")
            else:
                kind(place(top, name, i)).done()
        except (AssertionError, OSError) as error:
            wrong.append(f"{name}: ended with success, but: {error!r} "
                         f"{os.listdir(place(top, name, i))}")
    complain(wrong)


command, args = sys.argv[1], sys.argv[2:]
if command == "make":
    make(args[0], int(args[1]))
elif command == "run":
    run(args[0], int(args[1]), args[2])
elif command == "soft":
    soft(args[0], float(args[1]))
elif command == "waits":
    waits(args[0])
elif command == "kill":
    kill(args[0], int(args[1]), signal.Signals["SIG" + args[2]])
elif command == "done":
    done(args[0], int(args[1]), args[2], float(args[3]))
else:
    sys.exit(__doc__)
