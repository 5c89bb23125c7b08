#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""dir_size.py STEP MOUNT DIR COUNT: one measurement of dir_size in MOUNT/DIR, which holds COUNT
files f0000000 and up. Prints "what value unit" lines. Four processes work at once, but for the steps
"order" and "shuffled": there it is one."""
import multiprocessing
import os
import random
import sys
import time

PROCESSES = 4
STEP, MOUNT, DIR, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
TOP = f"{MOUNT}/{DIR}"
EACH = 1000  # files of a step
MANY = 40000  # lookups of who works in the directory for a while


def tell(what, value, unit):
    print(f"{what} {value:.4g} {unit}", flush=True)


def spread(work, what, names, processes=PROCESSES):
    """work(name) for each, by several processes; the rate of all together."""
    barrier = multiprocessing.Barrier(processes + 1)

    def run(part):
        barrier.wait()
        for name in part:
            work(f"{TOP}/{name}")
        barrier.wait()

    parts = [names[i::processes] for i in range(processes)]
    workers = [multiprocessing.Process(target=run, args=(part,)) for part in parts]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.monotonic()
    barrier.wait()
    seconds = time.monotonic() - start
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            sys.exit(f"{what} failed")
    tell(what, len(names) / seconds, "op/s")


def make(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, b"some text\n")
    os.close(fd)


def missing(path):
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    sys.exit(f"{path} is there")


def some(seed, count=EACH):
    """Names of files that are there, each once, in no order."""
    return [f"f{i:07}" for i in random.Random(seed).sample(range(COUNT), min(count, COUNT))]


def neighbours():
    """Names of files that are there, one after the other, from the middle of the directory."""
    first = max(COUNT // 2 - EACH, 0)
    return [f"f{i:07}" for i in range(first, min(first + EACH, COUNT))]


def new(prefix):
    return [f"{prefix}{i:07}" for i in range(EACH)]


def listing():
    """ls -f: raw getdents64, as ls does it, so that no time of Python's own is in it much."""
    start = time.monotonic()
    first, count = 0.0, 0
    with os.scandir(TOP) as entries:
        for _ in entries:
            count += 1
            if count == 1:
                first = time.monotonic() - start
    seconds = time.monotonic() - start
    tell("ls_first", first * 1000, "ms")
    tell("ls", seconds, "s")
    tell("ls_rate", count / seconds, "names/s")
    if count < COUNT:
        sys.exit(f"{count} of {COUNT} names were listed")


if STEP == "cold":
    spread(os.lstat, "lookup_cold", some(1))
elif STEP == "warm":
    spread(os.lstat, "lookup_warm", some(1))
elif STEP == "sorted":
    spread(os.lstat, "lookup_sorted", neighbours())
elif STEP == "order":
    spread(os.lstat, "lookup_order", neighbours(), 1)
elif STEP == "shuffled":
    spread(os.lstat, "lookup_shuffled", some(4), 1)
elif STEP == "many":
    spread(os.lstat, "lookup_many", some(2, MANY))
elif STEP == "known":
    # names that nobody has asked for; in a small directory the kernel has to ask again
    time.sleep(1.5)
    spread(os.lstat, "lookup_known", some(3, MANY + EACH)[-EACH:])
    spread(missing, "missing_known", new("k"))
elif STEP == "walk":
    spread(os.lstat, "walk", [f"f{i:07}" for i in range(COUNT)])
elif STEP == "missing":
    spread(missing, "missing", new("m"))
elif STEP == "create":
    spread(make, "create", new("n"))
elif STEP == "unlink":
    spread(os.unlink, "unlink", new("n"))
elif STEP == "ls":
    listing()
else:
    sys.exit(__doc__)
