# SPDX-License-Identifier: GPL-3.0-or-later
"""zones.py FOLDER - two data centres, and a cut between them; see test_zones.sh."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import Failed, play, read, until, write  # noqa: E402

ZONES = {"east": ["e1", "e2", "e3", "em"], "west": ["w1", "w2", "w3", "wm"]}
ROUNDS = 60
MIB = 1 << 20
LARGE = 24  # MiB of a file in chunks
SMALL = 40  # files of so many
INLINE = 48 << 10  # bytes, each in its row


def one_round(folder, name):
    """What a person does; each step's time, ms."""
    path = f"{folder}/{name}"
    steps = {
        "write": lambda: write(path, name),
        "read": lambda: read(path),
        "list": lambda: os.listdir(folder),
        "change": lambda: write(path, name + " again"),
        "rename": lambda: os.rename(path, path + ".new"),
        "stat": lambda: os.stat(path + ".new"),
        "remove": lambda: os.unlink(path + ".new"),
        "keep": lambda: write(path + ".kept", name),
    }
    times = {}
    for step, action in steps.items():
        begin = time.monotonic()
        action()
        times[step] = (time.monotonic() - begin) * 1000
    return times


def rounds(world, tag, count):
    times = {zone: [] for zone in ZONES}
    for i in range(count):
        for zone, at in world.mounts.items():
            times[zone] += one_round(f"{at}/{zone}", f"{tag}{i}").values()
    return times


def figures(times):
    times = sorted(times)
    return times[len(times) // 2], times[len(times) * 99 // 100], times[-1]


def tell(what, times):
    for zone, list_ in times.items():
        middle, most, worst = figures(list_)
        print(f"  {what:<28} {zone}: median {middle:6.2f} ms, 99 % {most:7.2f}, "
              f"most {worst:7.2f} of {len(list_)}")


def crossing(world, action):
    """What of it goes from the east to the west, bytes; with what follows it."""
    begin = last = world.net.crossed()[0]
    action()
    while True:
        time.sleep(1)
        now = world.net.crossed()[0]
        if now - last < MIB // 4:
            return now - begin
        last = now


def fill(path, size):
    with open(path, "wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())


def values_cross_once(world):
    """Six owners, three of them in the west: they get each value once, and share it there."""
    east = world.mounts["east"]
    fill(f"{east}/both/warm", 4 * MIB)  # connections for contents are opened when they are needed
    time.sleep(1)
    large = crossing(world, lambda: fill(f"{east}/both/large", LARGE * MIB)) / (LARGE * MIB)
    small = crossing(world, lambda: [fill(f"{east}/both/small{i}", INLINE)
                                     for i in range(SMALL)]) / (SMALL * INLINE)
    print(f"  to the other data centre: {large:.2f} times the contents of a large file, "
          f"{small:.2f} times those of small ones")
    if large > 1.5 or small > 1.5:
        raise Failed("values go to the other data centre more than once")


def names_in(at, zone):
    try:
        return sorted(os.listdir(f"{at}/{zone}"))
    except OSError:
        return None


def same(world, zone):
    east, west = (names_in(at, zone) for at in world.mounts.values())
    return east is not None and east == west


def both_kept(world, name):
    """All owners have the two versions of a file that both wrote."""
    told = world.ctl("em", "explain", f"/both/{name}", "--servers", world.servers()).stdout
    return "VERSIONS" in told and told.count("  value  6 of 6  ") == 2 and "hold the same" in told


def run(world):
    world.form()
    for zone in ZONES:
        world.mount(zone)
    east, west = world.mounts["east"], world.mounts["west"]
    for folder in list(ZONES) + ["both"]:
        os.mkdir(f"{east}/{folder}")
    until(10, "the folders in the west", lambda: set(os.listdir(west)) >= set(ZONES) | {"both"})
    write(f"{east}/both/file", "as it was")
    until(10, "the file in the west", lambda: os.path.exists(f"{west}/both/file"))
    rounds(world, "warm", 5)
    values_cross_once(world)
    before = rounds(world, "whole", ROUNDS)
    tell("whole", before)
    world.net.cut(ZONES["east"], ZONES["west"])
    first = rounds(world, "cut", 10)
    tell("cut apart, the first rounds", first)
    time.sleep(4)
    after = rounds(world, "apart", ROUNDS)
    tell("cut apart", after)
    for zone, at in world.mounts.items():
        write(f"{at}/both/file", f"changed in the {zone}")
        write(f"{at}/both/new", f"new in the {zone}")
        os.sync()
    world.net.heal()
    until(60, "nodes to find each other", lambda: world.up() == 6)
    for zone in ZONES:
        until(60, f"the folder of the {zone} to be the same", lambda zone=zone: same(world, zone))
    for name in "file", "new":
        until(60, f"both versions of {name}", lambda name=name: both_kept(world, name))
    for at in world.mounts.values():
        for name, text in ("file", "changed"), ("new", "new"): # the latest has the name
            until(10, f"{at}/both/{name}", lambda at=at, name=name, text=text:
                  read(f"{at}/both/{name}") == f"{text} in the west")
        for zone in ZONES:
            for i in range(ROUNDS):
                if read(f"{at}/{zone}/apart{i}.kept") != f"apart{i}":
                    raise Failed(f"{at}/{zone}/apart{i}.kept")
    until(60, "what is owed to be handed over", world.nothing_owed)
    for zone in ZONES:
        if figures(first[zone])[2] > 1000:
            raise Failed(f"{zone}: something took more than a second when they were cut apart")
        was, now = figures(before[zone]), figures(after[zone])
        if now[0] > 2 * was[0] + 1 or now[1] > 2 * was[1] + 10:
            raise Failed(f"{zone}: it takes longer while they are cut apart")


sys.exit(play(f"{sys.argv[1]}/zones", ZONES, "west", run))
