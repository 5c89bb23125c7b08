#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""stall.py DIR STOPFILE: small file work in DIR until STOPFILE exists; prints "OPS LONGEST_MS".

Each round creates, reads back, lists and removes a file. Any error ends the program with a
traceback."""
import os
import sys
import time

top, stop = sys.argv[1], sys.argv[2]
os.makedirs(top, exist_ok=True)
longest, operations, kept = 0.0, 0, []


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


round_number = 0
while not os.path.exists(stop):
    round_number += 1
    path = f"{top}/f{round_number}"
    text = f"round {round_number}\n" * 50
    timed(lambda: write(path, text))
    assert timed(lambda: read(path)) == text
    kept.append(path)
    if len(kept) > 20:
        timed(lambda: os.unlink(kept.pop(0)))
    names = timed(lambda: os.listdir(top))
    assert sorted(names) == sorted(os.path.basename(p) for p in kept), (names, kept)
print(operations, int(longest * 1000))
