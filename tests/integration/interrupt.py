#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""interrupt.py DIR: signals to programs that wait for a mount; a request takes about a second."""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)  # Python itself tries again after EINTR
top = sys.argv[1].encode()
seen = []


def mkdir(name):
    """Errno (0 = made) and seconds."""
    start = time.monotonic()
    result = libc.mkdir(top + b"/" + name, 0o755)
    return (0 if result == 0 else ctypes.get_errno()), time.monotonic() - start


def waits(pid):
    """Whether the process waits for an answer of the mount."""
    try:
        with open(f"/proc/{pid}/wchan", "rb") as f:
            return b"request_wait" in f.read()
    except FileNotFoundError:
        return False


def child(name):
    process = subprocess.Popen(["mkdir", top + b"/" + name])
    while not waits(process.pid):
        assert process.poll() is None, "mkdir ended before its signal"
    return process


signal.signal(signal.SIGALRM, lambda *_: seen.append("alarm"))
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
error, took = mkdir(b"timer")
signal.setitimer(signal.ITIMER_REAL, 0)
assert error == 0, f"a program with a timer got {errno.errorcode[error]}"
assert took > 0.5 and seen, f"the request took {took:.2f} s only: nothing was shown"

signal.signal(signal.SIGINT, lambda *_: seen.append("int"))
signal.siginterrupt(signal.SIGINT, True)
here = os.getpid()
if os.fork() == 0:
    end = time.monotonic() + 10
    while not waits(here) and time.monotonic() < end:
        pass
    os.kill(here, signal.SIGINT)
    os._exit(0)
error, took = mkdir(b"int")
os.wait()
assert error == errno.EINTR, f"SIGINT that is caught: {errno.errorcode.get(error, error)}"
assert took < 0.6, f"it came after {took:.2f} s only"

for number in (signal.SIGKILL, signal.SIGTERM):
    process = child(b"kill%d" % number)
    start = time.monotonic()
    process.send_signal(number)
    process.wait()
    assert time.monotonic() - start < 0.6, "the killed program stayed"
print("interrupt: 4 cases passed")
