# SPDX-License-Identifier: GPL-3.0-or-later
"""hook.py FOLDER - the same files are written on two sides of a cut network; the mount on one side has
a program (on_conflict) that keeps the longest version of each. Nobody looks at the files before it
does. See test_on_conflict.sh."""
import os
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{here}/../faults")
from world import Failed, play, read, until, write  # noqa: E402

ZONES = {"east": ["e1", "e2", "em"], "west": ["w1", "w2", "wm"]}
# of each what the east writes, and, later, the west, whose version bears the name
FILES = {"plan.odt": ("east, the longer one", "west"), "two words;\n$(x)": ("east", "west, longer")}
HOOK = """#!/bin/sh
printf '%s\\0' "$KITH_PATH" "$KITH_VERSIONS" "$KITH_MOUNT" "$@" END >>"{log}"
keep=$1
for version; do
    [ "$(stat -c %s "$version")" -le "$(stat -c %s "$keep")" ] || keep=$version
done
[ "$keep" = "$1" ] || mv -f "$keep" "$1"
for version; do
    [ "$version" = "$1" ] || [ ! -e "$version" ] || rm -f "$version"
done
"""


def runs(log):
    """What each run was given: path, versions and mount from its environment, then its words."""
    if not os.path.exists(log):
        return []
    return [run.split("\0")[:-1] for run in read(log).split("END\0")[:-1]]


def settled(at):
    return (sorted(os.listdir(f"{at}/d")) == sorted(FILES) and
            all(read(f"{at}/d/{name}") == max(texts, key=len) for name, texts in FILES.items()))


def check(run, name, mount):
    path, versions, at, *words = run
    whole = f"{mount}/d/{name}"
    if (at != mount or path != whole or words[0] != whole or len(words) != 2 or
            words[1] != versions or not words[1].startswith(f"{whole}.conflict-")):
        raise Failed(f"{name}: the program was given {run}")


def run(world):
    log, program = f"{world.folder}/runs", f"{world.folder}/keep longest"
    write(program, HOOK.format(log=log))
    os.chmod(program, 0o755)
    world.form()
    east, west = world.mount("east", f"on_conflict={program}"), world.mount("west")
    os.mkdir(f"{east}/d")
    until(20, "the directory in the west", lambda: os.path.isdir(f"{west}/d"))
    for name in FILES:
        write(f"{east}/d/{name}", "old")
        until(20, f"{name} in the west", lambda name=name: os.path.exists(f"{west}/d/{name}"))
    until(20, "nothing owed", world.nothing_owed)
    world.net.cut(ZONES["east"], ZONES["west"])
    for at, which in (east, 0), (west, 1):
        for name, texts in FILES.items():
            write(f"{at}/d/{name}", texts[which])
        os.sync()
        time.sleep(1.1)  # what waits in the mount is put in a second; and the later one's clock goes on
    world.net.heal()
    until(60, "the program to have run", lambda: len(runs(log)) >= len(FILES))
    until(30, "one version of each", lambda: settled(east) and settled(west))
    until(20, "nothing owed", world.nothing_owed)
    time.sleep(3)  # longer than anything waits for its turn: what was settled is not told again
    given = runs(log)
    if len(given) != len(FILES):
        raise Failed(f"the program ran {len(given)} times: {given}")
    for name in FILES:
        check(next(g for g in given if g[0].endswith(name)), name, east)
    if not (settled(east) and settled(west)):
        raise Failed(f"{os.listdir(f'{east}/d')} and {os.listdir(f'{west}/d')}")


sys.exit(play(f"{sys.argv[1]}/hook", ZONES, "west", run))
