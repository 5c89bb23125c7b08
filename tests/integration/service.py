# SPDX-License-Identifier: GPL-3.0-or-later
"""service.py CONFIG FOLDER - kithd as systemd runs it, with this program in systemd's place: what it
tells (sd_notify), the watchdog, priorities for the journal, and how it ends. For test_service.sh.
"""
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

LIMIT_S = 1.2  # the watchdog's; it is fed three times as often
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # of ptrace(2)
WALL = 0x40000000

config, folder = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(what, thread):
    if libc.ptrace(what, thread, None, None) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")


def hear(notify, seconds, want=None):
    """What is told within the time, until a line `want` comes; without it, all of it."""
    lines, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and want not in lines:
        if select.select([notify], [], [], left)[0]:
            lines += notify.recv(65536).decode().split("\n")
    if want is not None and want not in lines:
        sys.exit(f"no {want} in {seconds} s, but {lines}")
    return lines


def drain(notify):
    while select.select([notify], [], [], 0)[0]:
        notify.recv(65536)


notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(f"{folder}/notify")
journal, theirs = socket.socketpair()
stream = os.fstat(theirs.fileno())
# WATCHDOG_PID is left out: sd_watchdog_enabled(3) then takes it to be meant for whom it runs in
child = subprocess.Popen(
    ["kithd", "--config", config, "--metrics", "127.0.0.1:0"], stderr=theirs,
    env=dict(os.environ, NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC=str(int(LIMIT_S * 1e6)),
             JOURNAL_STREAM=f"{stream.st_dev}:{stream.st_ino}"))
theirs.close()
try:
    hear(notify, 30, "READY=1")
    # more often than it must, for as long as it is well
    for _ in range(5):
        hear(notify, LIMIT_S, "WATCHDOG=1")

    # the core's thread alone is stopped, all others go on: nobody feeds the watchdog in its place
    ptrace(SEIZE, child.pid)
    ptrace(INTERRUPT, child.pid)
    os.waitpid(child.pid, WALL)
    states = {thread: open(f"/proc/{child.pid}/task/{thread}/stat").read().rsplit(")", 1)[1].split()[0]
              for thread in os.listdir(f"/proc/{child.pid}/task")}
    stopped = [thread for thread, state in states.items() if state in "tT"]
    if stopped != [str(child.pid)] or len(states) < 3:
        sys.exit(f"not the core's thread alone is stopped: {states}")
    drain(notify)
    if told := hear(notify, 2 * LIMIT_S):
        sys.exit(f"told while the core's thread was stopped: {told}")
    ptrace(DETACH, child.pid)
    hear(notify, 30, "WATCHDOG=1")

    child.send_signal(signal.SIGTERM)
    hear(notify, 30, "STOPPING=1")
    if child.wait(30) != 0:
        sys.exit(f"it ended with {child.returncode}")
    lines = b"".join(iter(lambda: journal.recv(65536), b"")).decode().splitlines()
    if not lines or not all(line.startswith("<6>kithd: ") or line.startswith("<6>node: ")
                            for line in lines):
        sys.exit(f"not lines for the journal, with the priority of information: {lines}")
finally:
    if child.poll() is None:
        child.kill()
        child.wait()
