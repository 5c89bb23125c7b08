#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""stall.py files|sync DIR STOPFILE: work in DIR until STOPFILE exists; prints "OPS LONGEST_MS".

files: each round creates, reads back, lists and removes a small file. sync: each round writes here
and there into a large one and syncs it; their number is in STOPFILE.rounds. Any error ends the program with a traceback."""
import os
import random
import sys
import time

kind, top, stop = sys.argv[1], sys.argv[2], sys.argv[3]
os.makedirs(top, exist_ok=True)
longest, operations = 0.0, 0


def timed(work):
    global longest, operations
    start = time.monotonic()
    result = work()
    longest = max(longest, time.monotonic() - start)
    operations += 1
    return result


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def files():
    number, kept = 0, []
    while not os.path.exists(stop):
        number += 1
        path = f"{top}/f{number}"
        text = f"round {number}\n" * 50
        timed(lambda: write(path, text))
        assert timed(lambda: read(path)) == text
        kept.append(path)
        if len(kept) > 20:
            timed(lambda: os.unlink(kept.pop(0)))
        names = timed(lambda: os.listdir(top))
        assert sorted(names) == sorted(os.path.basename(p) for p in kept), (names, kept)


LARGE = 24 << 20
WRITE_MAX = 70000


def sync():
    large = os.open(top + "/large", os.O_RDWR | os.O_CREAT)
    for at in range(0, LARGE, 1 << 20):
        os.pwrite(large, os.urandom(1 << 20), at)
    os.fsync(large)
    chance, number = random.Random(top), 0
    while not os.path.exists(stop):
        for _ in range(40):
            block = os.urandom(chance.randint(1, WRITE_MAX))
            timed(lambda: os.pwrite(large, block, chance.randrange(LARGE - WRITE_MAX)))
        timed(lambda: os.fsync(large))
        number += 1
        write(stop + ".new", str(number))
        os.rename(stop + ".new", stop + ".rounds")
    os.close(large)


{"files": files, "sync": sync}[kind]()
print(operations, int(longest * 1000))
