#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""storm.py SECONDS STALL A B: changes at full speed in the same directories of two mounts.

At both mounts processes make, write, remove, rename and map files, make and remove directories,
list and stat, all in the same few directories under the same few names. Each counts what it has
done. Where a counter stands still for STALL seconds the storm is stuck: what that process waits for
is printed, and the status is 1. Files that are mapped are replaced whole and written in place, but
never cut: so a SIGBUS is an error."""
import errno
import mmap
import multiprocessing
import os
import random
import sys
import time

SECONDS, STALL, MOUNTS = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:5]
DIRS, NAMES, MAPPED = 3, 12, 4
SIZE = 16 * mmap.PAGESIZE
# What another's change may make of a call: the name is gone, is there, or is another kind of thing.
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ESTALE}


def path(top, rng, prefix, count=NAMES):
    return f"{top}/d{rng.randrange(DIRS)}/{prefix}{rng.randrange(count)}"


def write(top, rng):
    fd = os.open(path(top, rng, "f"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, b"%d\n" % rng.randrange(1000) * rng.randrange(1, 200))
    finally:
        os.close(fd)


def create(top, rng):
    os.close(os.open(path(top, rng, "f"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def unlink(top, rng):
    os.unlink(path(top, rng, "f"))


def rename(top, rng):
    os.rename(path(top, rng, "f"), path(top, rng, "f"))


def read(top, rng):
    with open(path(top, rng, rng.choice("fm"), MAPPED), "rb") as f:
        f.read()


def mkdir(top, rng):
    os.mkdir(path(top, rng, "s"))


def rmdir(top, rng):
    os.rmdir(path(top, rng, "s"))


def listing(top, rng):
    at = f"{top}/d{rng.randrange(DIRS)}"
    for name in os.listdir(at):
        try:
            os.lstat(f"{at}/{name}")
        except FileNotFoundError:
            pass


def stat(top, rng):
    for _ in range(20):
        try:
            os.stat(path(top, rng, rng.choice("fsm")))
        except FileNotFoundError:
            pass


def replace(top, rng):
    """A mapped file, whole."""
    own = f"{top}/d0/new{os.getpid()}"
    with open(own, "wb") as f:
        f.write(b"r" * SIZE)
    os.rename(own, path(top, rng, "m", MAPPED))


def overwrite(top, rng):
    fd = os.open(path(top, rng, "m", MAPPED), os.O_RDWR)
    try:
        os.pwrite(fd, b"w" * 5000, rng.randrange(SIZE - 5000))
        if rng.randrange(4) == 0:
            os.fsync(fd)
    finally:
        os.close(fd)


def mapped(top, rng):
    fd = os.open(path(top, rng, "m", MAPPED), os.O_RDWR)
    try:
        if os.fstat(fd).st_size < SIZE:
            raise SystemExit("a mapped file was seen cut")
        with mmap.mmap(fd, SIZE) as pages:
            for page in rng.sample(range(SIZE // mmap.PAGESIZE), 4):
                pages[page * mmap.PAGESIZE] = rng.randrange(256)
                pages.find(b"x", rng.randrange(SIZE))
            if rng.randrange(2) == 0:
                pages.flush()
    finally:
        os.close(fd)


# One process for each of them at each mount.
WORK = [[write, create], [unlink], [rename], [mkdir, rmdir], [listing], [stat, read],
        [replace, overwrite], [mapped]]


def worker(top, work, seed, counter, unexpected):
    rng = random.Random(seed)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            rng.choice(work)(top, rng)
        except OSError as e:
            if e.errno not in EXPECTED:
                unexpected.put(f"{work[0].__name__} at {top}: {e}")
                raise SystemExit(1) from e
        counter.value += 1


def text_of(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError as e:
        return f"({e})\n"


def show(name, pid):
    """What its threads wait for in the kernel."""
    print(f"---- {name}, process {pid}")
    for task in sorted(os.listdir(f"/proc/{pid}/task")):
        top = f"/proc/{pid}/task/{task}"
        print(f"{task} {text_of(top + '/comm').strip()} {text_of(top + '/wchan').strip()}")
        print(text_of(top + "/stack"), end="")


def stuck(name, pid):
    print(f"{name} has done nothing for {STALL} s")
    show(name, pid)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and text_of(f"/proc/{entry}/comm").startswith("kithfs") and any(
                top in text_of(f"/proc/{entry}/cmdline") for top in MOUNTS):
            show("kithfs", int(entry))
            os.system(f"gdb -p {entry} -batch -ex 'thread apply all bt 12' 2>/dev/null")
    sys.stdout.flush()


def main():
    seed = int(os.environ.get("KITH_SEED", os.getpid()))
    print(f"seed {seed}")
    for d in range(DIRS):
        os.mkdir(f"{MOUNTS[0]}/d{d}")
        for i in range(MAPPED):
            with open(f"{MOUNTS[0]}/d{d}/m{i}", "wb") as f:
                f.write(b"0" * SIZE)
    while not os.path.exists(f"{MOUNTS[1]}/d{DIRS - 1}/m{MAPPED - 1}"):
        time.sleep(0.01)  # the caller bounds it
    unexpected = multiprocessing.Queue()
    workers = []
    for number, (top, work) in enumerate((top, work) for work in WORK for top in MOUNTS):
        counter = multiprocessing.Value("Q", 0)
        process = multiprocessing.Process(
            target=worker, args=(top, work, seed + number, counter, unexpected))
        process.start()
        workers.append([f"{work[0].__name__} at {top}", process, counter, 0, time.monotonic()])
    while any(process.is_alive() for _, process, _, _, _ in workers):
        time.sleep(0.1)
        for state in workers:
            name, process, counter, last, since = state
            if not process.is_alive():
                continue
            if counter.value != last:
                state[3:] = [counter.value, time.monotonic()]
            elif time.monotonic() > since + STALL:
                stuck(name, process.pid)
                for _, each, _, _, _ in workers:
                    each.kill()
                os._exit(1)
    while not unexpected.empty():
        print(unexpected.get())
    print(", ".join(f"{name.split()[0]} {counter.value}" for name, _, counter, _, _ in workers))
    bad = [f"{name}: status {process.exitcode}" for name, process, _, _, _ in workers
           if process.exitcode != 0]
    idle = [name for name, _, counter, _, _ in workers if counter.value < 10]
    if bad or idle:
        sys.exit(f"failed: {bad}, hardly ran: {idle}")


main()
