# SPDX-License-Identifier: GPL-3.0-or-later
"""top.py COMMAND...: runs it in terminals of its own, which it takes whole and gives back as they were:
after q, signals, a stop, and in another size."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"


def take_terminal():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background has it ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    def __init__(self, command, term="xterm", columns=100, rows=24):
        self.ours, theirs = pty.openpty()
        self.size(columns, rows)
        self.before = termios.tcgetattr(theirs)
        self.said = b""
        # a session of its own, which the terminal is that of: Ctrl-C there is a signal
        self.child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                      env=dict(os.environ, TERM=term),
                                      preexec_fn=take_terminal)
        self.theirs = theirs

    def size(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hear(self, want, seconds=30):
        """Until that was said, from the last such on; gives what was, up to its end."""
        end = time.monotonic() + seconds
        while want not in self.said:
            assert (left := end - time.monotonic()) > 0, f"no {want} in {self.said}"
            if select.select([self.ours], [], [], left)[0]:
                self.said += os.read(self.ours, 65536)
        at = self.said.index(want) + len(want)
        heard, self.said = self.said[:at], self.said[at:]
        return heard

    def send(self, keys):
        os.write(self.ours, keys)

    def is_raw(self):
        return not termios.tcgetattr(self.theirs)[3] & (termios.ICANON | termios.ECHO)

    def ended(self, status):
        """As it should, and the terminal is as it was before."""
        assert self.child.wait(20) == status, f"{self.child.returncode}, not {status}"
        assert termios.tcgetattr(self.theirs) == self.before, "the terminal's settings are others"
        os.close(self.ours)
        os.close(self.theirs)


def test_quit(command):
    terminal = Terminal(command)
    terminal.hear(ENTER)
    frame = terminal.hear(b"SINCE" if "top" in command else b"VERSION")
    assert b"health: \x1b[32mhealthy\x1b[0m" in frame, frame
    assert terminal.is_raw()
    terminal.send(b"xyz")
    terminal.send(b"q")
    terminal.hear(LEAVE)
    terminal.ended(0)


def test_signals(command):
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        terminal = Terminal(command)
        terminal.hear(b"healthy")
        if number == signal.SIGINT:
            terminal.send(b"\x03")
        else:
            terminal.child.send_signal(number)
        terminal.hear(LEAVE)
        terminal.ended(-number)


def test_stop(command):
    terminal = Terminal(command)
    terminal.hear(b"healthy")
    os.kill(terminal.child.pid, signal.SIGTSTP)  # its group is orphaned: Ctrl-Z itself does nothing there
    terminal.hear(LEAVE)
    end = time.monotonic() + 20
    while open(f"/proc/{terminal.child.pid}/stat", encoding="ascii").read().split()[2] != "T":
        assert time.monotonic() < end, "it does not stop"
        time.sleep(0.01)
    assert termios.tcgetattr(terminal.theirs) == terminal.before, "stopped, and the terminal is not as before"
    terminal.child.send_signal(signal.SIGCONT)
    terminal.hear(ENTER)
    terminal.hear(b"healthy")
    assert terminal.is_raw()
    terminal.send(b"q")
    terminal.hear(LEAVE)
    terminal.ended(0)


def test_resize(command):
    terminal = Terminal(command)
    terminal.hear(b"\x1b[J")
    terminal.hear(b"\x1b[0m\x1b[J")  # the end of the first frame
    terminal.size(80, 3)
    terminal.hear(b"more lines")
    terminal.size(80, 50)
    frame = terminal.hear(b"\x1b[0m\x1b[J")
    assert b"more lines" not in frame, frame
    terminal.send(b"q")
    terminal.hear(LEAVE)
    terminal.ended(0)


def test_dumb(command):
    terminal = Terminal(command, term="dumb")
    assert b"\x1b" not in terminal.hear(b"healthy") + terminal.hear(b"healthy")
    terminal.child.send_signal(signal.SIGINT)
    terminal.ended(-signal.SIGINT)


def test_lines(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        heard = b""
        while heard.count(b"healthy") < 2:
            heard += os.read(child.stdout.fileno(), 65536)
        assert b"\x1b" not in heard and b"\r" not in heard, heard
        assert b"\n\nCluster" in heard, heard
        child.send_signal(signal.SIGTERM)


for test in test_quit, test_signals, test_stop, test_resize, test_dumb, test_lines:
    test(sys.argv[1:])
