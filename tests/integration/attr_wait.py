#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""attr_wait.py STEP ARGUMENT...: what test_attr_wait.sh does to files faster than a shell could.

  files DIR N       N files as rsync makes them: created 0600, written, closed, times, mode, renamed
  dirs DIR N        N directories as tar makes them: created 0700, owner, mode and times set
  young PATH        a new file with contents that is opened to all at once
  shut DIR          a new directory that is closed to others at once
  step PATH MODE    chmod
  fsync PATH TIME   sets the mtime and syncs
  seen PATH MODE S  waits at most S seconds for the mode; prints how long it took in ms
"""
import os
import stat
import sys
import time


def files(place, count):
    for i in range(int(count)):
        hidden, name = f"{place}/.f{i}.x", f"{place}/f{i}"
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(fd, 0o600)
        os.write(fd, b"contents\n" * 100)
        os.close(fd)
        os.utime(hidden, ns=(10**18, 10**18 + i))
        fd = os.open(hidden, os.O_RDONLY)
        os.fchmod(fd, 0o644)
        os.close(fd)
        os.rename(hidden, name)


def dirs(place, count):
    for i in range(int(count)):
        name = f"{place}/d{i}"
        os.mkdir(name, 0o700)
        os.chown(name, os.getuid(), os.getgid())
        os.chmod(name, 0o755)
        os.utime(name, ns=(10**18, 10**18 + i))


def young(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"contents\n")
    os.close(fd)
    os.chmod(path, 0o644)


def shut(path):
    os.mkdir(path, 0o755)
    os.chmod(path, 0o700)


def step(path, mode):
    os.chmod(path, int(mode, 8))


def fsync(path, when):
    fd = os.open(path, os.O_RDONLY)
    os.utime(fd, (int(when), int(when)))
    os.fsync(fd)
    os.close(fd)


def seen(path, mode, seconds):
    started = time.monotonic()
    while stat.S_IMODE(os.stat(path).st_mode) != int(mode, 8):
        if time.monotonic() - started > float(seconds):
            sys.exit(f"{path} still has mode {stat.S_IMODE(os.stat(path).st_mode):o}, not {mode}")
        time.sleep(0.002)
    print(round((time.monotonic() - started) * 1000))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
