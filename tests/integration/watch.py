#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""watch.py A B ROUNDS: what is done at mount B in a directory that mount A works in shows at A as
soon as the cluster has told it, though A's kernel and A's memory would keep what they know for
long. Prints how long that took at most."""
import errno
import os
import sys
import time

# far below the timeouts of the mounts, far above the way of a message on a loaded machine
BOUND_S = 10.0
A, B, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
longest = (0.0, "")


def sees(what, condition):
    global longest
    start = time.monotonic()
    while not condition():
        if time.monotonic() > start + BOUND_S:
            sys.exit(f"{what}: not seen within {BOUND_S} s")
        time.sleep(0.0005)
    longest = max(longest, (time.monotonic() - start, what))


def there(path):
    try:
        os.lstat(path)
        return True
    except FileNotFoundError:
        return False


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return None


def exclusive(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return 0
    except OSError as e:
        return e.errno


def works_here(top):
    """What makes a directory worth a watch."""
    for i in range(4):
        there(f"{top}/none{i}")
        write(f"{top}/own{i}", "own")


def one_round(a, b):
    for name in ("f", "g", "d", "x"):
        assert not there(f"{a}/{name}"), name
    write(f"{b}/f", "one")
    sees("a new file", lambda: there(f"{a}/f"))
    assert exclusive(f"{a}/f") == errno.EEXIST
    assert read(f"{a}/f") == "one"
    write(f"{b}/f", "two, longer")
    sees("new contents", lambda: read(f"{a}/f") == "two, longer")
    sees("a new size", lambda: os.stat(f"{a}/f").st_size == 11)
    os.chmod(f"{b}/f", 0o600)
    sees("a new mode", lambda: os.stat(f"{a}/f").st_mode & 0o777 == 0o600)
    os.rename(f"{b}/f", f"{b}/g")
    sees("a new name", lambda: there(f"{a}/g"))
    sees("the old name's end", lambda: not there(f"{a}/f"))
    assert sorted(n for n in os.listdir(a) if not n.startswith("own")) == ["g"]
    os.link(f"{b}/g", f"{b}/x")
    sees("a link", lambda: there(f"{a}/x"))
    sees("two names", lambda: os.stat(f"{a}/g").st_nlink == 2)
    os.unlink(f"{b}/x")
    sees("a link's end", lambda: not there(f"{a}/x"))
    os.mkdir(f"{b}/d")
    sees("a directory", lambda: there(f"{a}/d"))
    try:
        os.mkdir(f"{a}/d")
        sys.exit("mkdir made what was there")
    except FileExistsError:
        pass
    os.rmdir(f"{b}/d")
    sees("a directory's end", lambda: not there(f"{a}/d"))
    os.unlink(f"{b}/g")
    sees("a file's end", lambda: not there(f"{a}/g"))
    assert exclusive(f"{a}/f") == 0  # free again
    sees("the other way round", lambda: there(f"{b}/f"))
    os.unlink(f"{a}/f")
    sees("an end the other way round", lambda: not there(f"{b}/f"))


def main():
    top = f"round{os.getpid()}"
    os.mkdir(f"{A}/{top}")
    sees("the place", lambda: there(f"{B}/{top}"))
    for i in range(ROUNDS):
        works_here(f"{A}/{top}")
        sees("what was made", lambda: there(f"{B}/{top}/own3"))
        works_here(f"{B}/{top}")
        one_round(f"{A}/{top}", f"{B}/{top}")
    print(f"{ROUNDS} rounds, the longest way {longest[0] * 1000:.0f} ms ({longest[1]})")


main()
