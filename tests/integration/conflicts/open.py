# SPDX-License-Identifier: GPL-3.0-or-later
"""open.py FOLDER - files that two sides of a cut network make under one name, and keep open: what is
written to them when the two are joined again, and each knows of the other; see test_conflict_open.sh.

Each case has a directory of its own, in which A makes x in the east, and B, later, in the west (a file
"A1", or "B1", or a directory). What is told in the end is what both see: NAME=CONTENTS, NAME!=CONTENTS
for what stands beside under a made name, NAME/ for a directory."""
import os
import re
import signal
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{here}/../faults")
from world import Failed, play, read, until  # noqa: E402

ZONES = {"east": ["e1", "e2", "em"], "west": ["w1", "w2", "wm"]}
MADE = re.compile(r"\.conflict-\d{8}T\d{6}Z-.*?-[0-9a-f]{8,16}(?=\.conflict-|$)")
CASES = {
    "plain": "x!=A1A2 x=B1B2",
    "directory": "x!=A1A2 x/",
    "handles": "x!=A1A2A3 x=B1",
    "renamed": "x!=A1A2 y=B1",
    "unlinked": "x!=A1A2",
    "moved": "x=B1 y=A1A2",
    "forgotten": "x=B1",
    "removed": "x!=A1A2 x=B1",
    "chosen": "x=A1A2",
    "unaware": "x!=B1B2 x=A1A2",
    "unsent": "x!=A1A2 x=B1",
    "ends": "x!=A1A2 x=B1",
}
FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


def made(path):
    """The name beside x there; None: there is none yet."""
    names = [n for n in os.listdir(path) if n.startswith("x.conflict-")]
    return f"{path}/{names[0]}" if names else None


def described(path):
    told = []
    for name in os.listdir(path):
        shown = MADE.sub("!", name)
        whole = f"{path}/{name}"
        told.append(f"{shown}/" if os.path.isdir(whole) else f"{shown}={read(whole)}")
    return " ".join(sorted(told))


def add(fd, text, sync=True):
    os.write(fd, text.encode())
    if sync:
        os.fsync(fd)


def goes_on(case, fd, want):
    """What its user sees of it after he has written."""
    whole = os.pread(fd, 100, 0).decode()
    if whole != want or os.fstat(fd).st_size != len(want):
        raise Failed(f"{case}: the open file has {whole!r}, {os.fstat(fd).st_size} bytes")


def mount_of(at):
    """The process of the mount there."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/kithfs") and at.encode() in words:
            return int(pid)
    raise Failed(f"no mount at {at}")


def learnt(case, east):
    path = f"{east}/{case}/x"
    return os.path.isdir(path) if case == "directory" else read(path) == "B1"


def write_on(case, east, west, mine, other):
    """What is done when both know of each other, A's mount first."""
    at, there = f"{east}/{case}", f"{west}/{case}"
    if case == "renamed":
        os.rename(f"{at}/x", f"{at}/y")
    elif case == "unlinked":
        os.unlink(f"{at}/x")
    elif case == "moved":
        os.rename(made(at), f"{at}/y")
    elif case == "forgotten":
        os.unlink(made(at))
    elif case == "removed":
        os.unlink(made(there))
    elif case == "chosen":
        os.rename(made(there), f"{there}/x")
        until(20, "the choice in the east", lambda: read(f"{at}/x") == "A1")
    if case == "handles":
        os.write(mine[1], b"A2")
        os.close(mine.pop())
        add(mine[0], "A3")
        goes_on(case, mine[0], "A1A2A3")
    else:
        add(mine[0], "A2", sync=case != "unsent")
        goes_on(case, mine[0], "A1A2")
    if case == "plain":
        inode = os.fstat(mine[0]).st_ino
        if os.stat(made(at)).st_ino != inode:
            raise Failed(f"{case}: the open file is not the one beside x")
        add(other, "B2")
    if case == "unaware":  # now his is the older one
        until(20, "the west to learn of it", lambda: read(f"{there}/x") == "A1A2")
        add(other, "B2")


def both_write(east, west):
    mine, others = {}, {}
    for case in CASES:
        mine[case] = [os.open(f"{east}/{case}/x", FLAGS, 0o644)]
        if case == "handles":
            mine[case].append(os.open(f"{east}/{case}/x", FLAGS))
        add(mine[case][0], "A1")
    time.sleep(0.01)  # the clocks of the nodes are this machine's: those of the west are later
    for case in CASES:
        if case == "directory":
            os.mkdir(f"{west}/{case}/x")
        else:
            others[case] = os.open(f"{west}/{case}/x", FLAGS, 0o644)
            add(others[case], "B1")
    return mine, others


def run(world):
    world.form()
    for zone in ZONES:
        world.mount(zone)
    east, west = world.mounts["east"], world.mounts["west"]
    for case in CASES:
        os.mkdir(f"{east}/{case}")
    until(20, "all of it in the west", lambda: all(os.path.isdir(f"{west}/{c}") for c in CASES))
    until(20, "nothing owed", world.nothing_owed)
    world.net.cut(ZONES["east"], ZONES["west"])
    mine, others = both_write(east, west)
    world.net.heal()
    until(60, "nodes to find each other", lambda: world.up() == len(world.nodes))
    until(60, "what is owed to be handed over", world.nothing_owed)
    for case in CASES:
        if case != "unaware":
            until(20, f"A to learn of B's: {case}", lambda case=case: learnt(case, east))
            until(20, f"what stands beside: {case}",
                  lambda case=case: made(f"{east}/{case}") and made(f"{west}/{case}"))
    for case in CASES:
        if case != "ends":
            try:
                write_on(case, east, west, mine[case], others.get(case))
                for fd in [*mine[case], others.get(case)]:
                    if fd is not None:
                        os.close(fd)
            except OSError as error:
                raise Failed(f"{case}: {error}") from None

    def settled(places):
        for case, want in CASES.items():
            for at in places:
                if case != "ends" and described(f"{at}/{case}") != want:
                    return False
        return True

    def told(places):
        return "; ".join(f"{c}: {described(f'{at}/{c}')}" for c in CASES for at in places
                         if c != "ends" and described(f"{at}/{c}") != CASES[c])

    try:
        until(30, "both to see it", lambda: settled([east, west]))
    except Failed as why:
        raise Failed(f"{why}: {told([east, west])}") from None
    os.write(mine["ends"][0], b"A2")
    os.kill(mount_of(east), signal.SIGTERM)
    try:
        until(30, "what was unsent when the mount ended",
              lambda: described(f"{west}/ends") == CASES["ends"])
    except Failed as why:
        raise Failed(f"{why}: {described(f'{west}/ends')}") from None


if __name__ == "__main__":
    sys.exit(play(f"{sys.argv[1]}/open", ZONES, "west", run))
