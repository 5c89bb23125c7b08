#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""interrupt.py DIR: signals to programs that wait for a mount whose cluster answers nothing until
it is told to (fake.py)."""
import ctypes
import errno
import os
import signal
import sys

from fake import Fake, wait_for

libc = ctypes.CDLL(None, use_errno=True)  # Python itself tries again after EINTR
top = sys.argv[1].encode()
fake = Fake()


def waits(pid):
    """Whether the process waits for an answer of the mount."""
    with open(f"/proc/{pid}/wchan", "rb") as f:
        return b"request_wait" in f.read()


def has_got(pid, number):
    """Whether the signal was sent to it, which is not taken before the call has ended."""
    with open(f"/proc/{pid}/status") as f:
        pending = [int(line.split()[1], 16) for line in f if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in pending)


def start(name, handled=None, restart=False):
    """A program that makes the directory and waits; its exit status is the errno."""
    pid = os.fork()
    if pid == 0:
        if handled is not None:
            signal.signal(handled, lambda *_: None)
            signal.siginterrupt(handled, not restart)
        made = libc.mkdir(top + b"/" + name, 0o755) == 0
        os._exit(0 if made else ctypes.get_errno())
    wait_for("the program to wait", lambda: waits(pid))
    return pid


def end(pid):
    """The program's wait status."""
    return wait_for("the program to end",
                    lambda: [status for got, status in [os.waitpid(pid, os.WNOHANG)] if got])[0]


for name in (b"timer", b"int", b"kill", b"term"):
    os.mkdir(top + b"/" + name)
fake.say("stop", "stopped")

timer = start(b"timer/d", signal.SIGALRM, restart=True)
os.kill(timer, signal.SIGALRM)
wait_for("the timer's signal", lambda: has_got(timer, signal.SIGALRM))

# whoever means to end is answered while the cluster is still silent
caught = start(b"int/d", signal.SIGINT)
os.kill(caught, signal.SIGINT)
status = end(caught)
assert os.WIFEXITED(status), f"SIGINT that is caught: {status}"
error = os.WEXITSTATUS(status)
assert error == errno.EINTR, f"SIGINT that is caught: {errno.errorcode.get(error, error)}"
for name, number in ((b"kill/d", signal.SIGKILL), (b"term/d", signal.SIGTERM)):
    killed = start(name)
    os.kill(killed, number)
    status = end(killed)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number, status

# the timer's signal came first: the mount has judged it by now
assert waits(timer), "a program with a timer was disturbed"
fake.say("go", "going")
status = end(timer)
assert status == 0, f"a program with a timer got {os.waitstatus_to_exitcode(status)}"
assert os.path.isdir(top + b"/timer/d")
print("interrupt: 4 cases passed")
