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
PR_SET_PDEATHSIG = 1
top = sys.argv[1].encode()
fake = Fake()
readers = []


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


class Closer:
    """A program that has the file open; when it is told to it writes to it, and closes it. Its exit
    status is the errno."""
    def __init__(self, name):
        self.name = name
        self.signal = name.decode().split("-")[1]
        told, self.tell = os.pipe()
        opened, says = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.run(told, says)
        os.close(told)
        os.close(says)
        assert os.read(opened, 1) == b"o"
        os.close(opened)

    def run(self, told, says):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, (lambda *_: None) if self.signal == "caught" else signal.SIG_DFL)
        signal.siginterrupt(signal.SIGINT, True)
        fd = libc.open(top + b"/" + self.name, os.O_WRONLY | os.O_APPEND)
        os.write(says, b"o")
        os.read(told, 1)
        text = b"+" + self.name
        if libc.write(fd, text, len(text)) != len(text):
            os._exit(255)
        os._exit(0 if libc.close(fd) == 0 else ctypes.get_errno())

    def end(self):
        os.write(self.tell, b"g")
        wait_for("the program to wait", lambda: waits(self.pid))
        os.kill(self.pid, signal.SIGKILL if self.signal == "kill" else signal.SIGINT)
        status = end(self.pid)
        if self.signal == "caught":
            assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == errno.EINTR, (self.name, status)
        else:
            assert os.WIFSIGNALED(status), (self.name, status)


def shows(name):
    """What another program of this mount reads, and how long the file is for it. It does not close the
    file, for that would wait, too."""
    fd = os.open(top + b"/" + name, os.O_RDONLY)
    readers.append(fd)
    text = os.read(fd, 100)
    return text if os.stat(top + b"/" + name).st_size == len(text) else None


def end(pid):
    """The program's wait status."""
    return wait_for("the program to end",
                    lambda: [status for got, status in [os.waitpid(pid, os.WNOHANG)] if got])[0]


for name in (b"timer", b"int", b"kill", b"term"):
    os.mkdir(top + b"/" + name)
closes = (b"close-caught", b"close-int", b"close-kill")
for name in closes:
    with open(top + b"/" + name, "wb") as f:
        f.write(b"text")
closers = [Closer(name) for name in closes]
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

# a close that is interrupted loses nothing: what was written is read at this mount at once
for closer in closers:
    closer.end()
    assert shows(closer.name) == b"text+" + closer.name, closer.name

# the timer's signal came first: the mount has judged it by now
assert waits(timer), "a program with a timer was disturbed"
fake.say("go", "going")
status = end(timer)
assert status == 0, f"a program with a timer got {os.waitstatus_to_exitcode(status)}"
assert os.path.isdir(top + b"/timer/d")
for name in closes:
    assert shows(name) == b"text+" + name, (name, shows(name))
print(f"interrupt: {4 + len(closes)} cases passed")
