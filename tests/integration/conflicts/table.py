# SPDX-License-Identifier: GPL-3.0-or-later
"""table.py FOLDER [--tell] - all pairs of operations on one name, done at the same time on two sides
of a cut network; see test_conflict_table.sh. table.txt has what is there when they are joined again:

    FIRST SECOND: ENTRY...      first in the east, later in the west; ENTRY is one of
        NAME=CONTENTS           a file; old: as it was, A and B: as the one or the other wrote it
        NAME!=CONTENTS          another version beside it, under a made name
        NAME->TARGET            a symlink
        NAME/                   a directory, and NAME/ENTRY what is in it
    and behind it (MODE), {ATTRIBUTE} and *LINKS where these are the matter

--tell prints the table as it is found."""
import os
import re
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{here}/../faults")
from world import Failed, play, until, write  # noqa: E402

ZONES = {"east": ["e1", "e2", "em"], "west": ["w1", "w2", "wm"]}
NEEDS = {"create": None, "write": "file", "truncate": "file", "rename": "file", "unlink": "file",
         "mkdir": None, "rmdir": "dir", "link": "file", "symlink": None, "chmod": "file",
         "setxattr": "file"}
OPS = os.environ.get("KITH_OPS", " ".join(NEEDS)).split()
MODES = {"A": 0o600, "B": 0o640}
MADE = re.compile(r"\.conflict-\d{8}T\d{6}Z-.*-[0-9a-f]{8}$")


def state_of(a, b):
    needs = {NEEDS[a], NEEDS[b]}
    return "dir" if "dir" in needs else "file" if "file" in needs else None


def replace(path, who):
    write(f"{path}.tmp", who)
    os.rename(f"{path}.tmp", path)


def in_place(path, who):
    with open(path, "r+") as file:
        file.truncate(0)
        file.write(who)


def instead(path, make):
    os.unlink(path)
    make()


def operation(op, state, path, who):
    """What a person or program does there."""
    inner = f"{path}/in-{who}"
    anywhere = {
        "chmod": lambda: os.chmod(path, MODES[who]),
        "setxattr": lambda: os.setxattr(path, f"user.{who}", who.encode()),
        "rename": lambda: os.rename(path, f"{path}.{who}"),
        "rmdir": lambda: os.rmdir(path),
    }
    ways = {
        None: {
            "create": lambda: write(path, who),
            "mkdir": lambda: os.mkdir(path),
            "symlink": lambda: os.symlink(who, path),
        },
        "file": {
            "create": lambda: replace(path, who),
            "write": lambda: in_place(path, who),
            "truncate": lambda: os.truncate(path, 2 if who == "A" else 1),
            "unlink": lambda: os.unlink(path),
            "mkdir": lambda: instead(path, lambda: os.mkdir(path)),
            "link": lambda: os.link(path, f"{path}.{who}"),
            "symlink": lambda: instead(path, lambda: os.symlink(who, path)),
        },
        "dir": {
            "create": lambda: write(inner, who),
            "write": lambda: write(inner, who),
            "truncate": lambda: (write(inner, who), os.truncate(inner, 0)),
            "unlink": lambda: (write(inner, who), os.unlink(inner)),
            "mkdir": lambda: os.mkdir(inner),
            "link": lambda: (write(inner, who), os.link(inner, f"{inner}-2")),
            "symlink": lambda: os.symlink(who, inner),
        },
    }
    (ways[state].get(op) or anywhere[op])()


def entry(path, name, ops):
    status = os.lstat(f"{path}/{name}")
    shown = MADE.sub("!", name)
    if os.path.islink(f"{path}/{name}"):
        return [f"{shown}->{os.readlink(f'{path}/{name}')}"]
    more = f"({status.st_mode & 0o7777:o})" if "chmod" in ops else ""
    if "setxattr" in ops:
        more += "".join(f"{{{a[5:]}}}" for a in sorted(os.listxattr(f"{path}/{name}")))
    if os.path.isdir(f"{path}/{name}"):
        inner = [e for n in sorted(os.listdir(f"{path}/{name}"))
                 for e in entry(f"{path}/{name}", n, ops)]
        return [f"{shown}/{more}"] + [f"{shown}/{e}" for e in inner]
    if status.st_nlink > 1:
        more += f"*{status.st_nlink}"
    with open(f"{path}/{name}") as file:
        return [f"{shown}={file.read()}{more}"]


def described(path, ops):
    return " ".join(sorted(e for name in os.listdir(path) for e in entry(path, name, ops)))


def found(world):
    """The table as each mount sees it; None: not yet."""
    tables = []
    for at in world.mounts.values():
        try:
            tables.append({(a, b): described(f"{at}/{a}-{b}", (a, b)) for a in OPS for b in OPS})
        except OSError as error:
            tables.append({"error": str(error)})
    return tables


def uncycled(at):
    """Two directories were moved into one another: the later move ends in /lost+found, with both."""
    try:
        return (os.listdir(f"{at}/lost+found") == ["b"] and os.listdir(f"{at}/cycle") == [] and
                sorted(os.listdir(f"{at}/lost+found/b")) == ["a", "in-b"] and
                os.listdir(f"{at}/lost+found/b/a") == ["in-a"])
    except OSError:
        return False


def told(table):
    return "".join(f"{a} {b}: {entries}\n" for (a, b), entries in table.items())


def wanted():
    table = {}
    with open(f"{here}/table.txt") as file:
        for line in file:
            if not line.startswith("#"):
                ops, _, entries = line.rstrip("\n").partition(":")
                table[tuple(ops.split())] = entries.strip()
    return table


def run(world):
    world.form()
    for zone in ZONES:
        world.mount(zone)
    east, west = world.mounts["east"], world.mounts["west"]
    pairs = [(a, b) for a in OPS for b in OPS]
    for a, b in pairs:
        os.mkdir(f"{east}/{a}-{b}")
        state = state_of(a, b)
        if state == "file":
            write(f"{east}/{a}-{b}/x", "old")
        elif state == "dir":
            os.mkdir(f"{east}/{a}-{b}/x")
    for name in "a", "b":
        os.makedirs(f"{east}/cycle/{name}")
        write(f"{east}/cycle/{name}/in-{name}", name)
    until(20, "the last of it in the west", lambda: os.path.lexists(f"{west}/cycle/b/in-b"))
    until(20, "all of it in the west", lambda: all(
        os.path.lexists(f"{west}/{a}-{b}/x") for a, b in pairs if state_of(a, b)))
    until(20, "nothing owed", world.nothing_owed)
    world.net.cut(ZONES["east"], ZONES["west"])
    for who, op, at in ("A", 0, east), ("B", 1, west):
        for pair in pairs:
            try:
                operation(pair[op], state_of(*pair), f"{at}/{pair[0]}-{pair[1]}/x", who)
            except OSError as error:
                raise Failed(f"{pair}: {pair[op]}: {error}") from None
        name, into = ("a", "b") if who == "A" else ("b", "a")
        os.rename(f"{at}/cycle/{name}", f"{at}/cycle/{into}/{name}")
        os.sync()
        time.sleep(1.1)  # what waits in the mount is put in a second; and B's clock goes on
    world.net.heal()
    until(60, "nodes to find each other", lambda: world.up() == len(world.nodes))
    until(60, "what is owed to be handed over", world.nothing_owed)
    want = None if "--tell" in sys.argv else wanted()
    tables, since = [], [time.monotonic(), None]

    def settled():
        tables[:] = found(world)
        if tables != since[1]:
            since[:] = time.monotonic(), list(tables)
        if want is None:  # there is no telling what to wait for: as long as anything takes
            return tables[0] == tables[1] and time.monotonic() - since[0] > 5
        return tables[0] == tables[1] == want

    try:
        until(40, "the table", settled)
    except Failed:
        for zone, table in zip(ZONES, tables):
            for pair, entries in table.items():
                if want is None or want.get(pair) != entries:
                    print(f"  {zone}: {pair}: {entries}, not {want and want.get(pair)}")
        raise
    for at in east, west:
        until(20, f"/lost+found in {at}", lambda: uncycled(at))
    if want is None:
        sys.stdout.write(told(tables[0]))


sys.exit(play(f"{sys.argv[1]}/table", ZONES, "west", run))
