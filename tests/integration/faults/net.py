# SPDX-License-Identifier: GPL-3.0-or-later
"""net.py - machines on one Ethernet: a network namespace each, joined by a bridge in one more.

A packet is lost without a word where the sender's neighbour table names a station that is not
there: one direction between two machines is cut and restored at once, with nothing but iproute2,
and as on a real network nobody is told.

Machines may stand at two sites: each has a bridge of its own, and what goes from one to the other is
counted.
"""
import json
import os
import subprocess
import sys

NOBODY = "02:00:00:00:00:99"


class Unable(Exception):
    """Namespaces cannot be made here."""


def ip(*words, check=True):
    done = subprocess.run(("ip",) + words, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Unable(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


class Net:
    """with Net(["n1", "n2"]) as net: net.address("n1"); net.command("n1", ...)

    far: those of the machines that stand at the second site."""

    def __init__(self, machines, far=()):
        self.far = set(far)
        self.tag = f"kf{os.getpid()}"
        self.hub = f"{self.tag}-hub"
        self.machines = {name: f"10.97.0.{i + 1}" for i, name in enumerate(machines)}
        self.cuts = set()

    def space(self, name):
        return f"{self.tag}-{name}"

    def address(self, name):
        return self.machines[name]

    def command(self, name, *words):
        return ["ip", "netns", "exec", self.space(name), *words]

    def __enter__(self):
        try:
            ip("netns", "add", self.hub)
            for bridge in ["br0", "br1"] if self.far else ["br0"]:
                ip("-n", self.hub, "link", "add", bridge, "type", "bridge")
                ip("-n", self.hub, "link", "set", bridge, "up")
            if self.far:
                ip("-n", self.hub, "link", "add", "way0", "type", "veth", "peer", "name", "way1")
                ip("-n", self.hub, "link", "set", "way0", "master", "br0", "up")
                ip("-n", self.hub, "link", "set", "way1", "master", "br1", "up")
            for i, (name, address) in enumerate(self.machines.items()):
                space = self.space(name)
                ip("netns", "add", space)
                ip("-n", self.hub, "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0",
                   "netns", space)
                bridge = "br1" if name in self.far else "br0"
                ip("-n", self.hub, "link", "set", f"v{i}", "master", bridge, "up")
                ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
                ip("-n", space, "link", "set", "lo", "up")
                ip("-n", space, "link", "set", "eth0", "up")
        except (Unable, FileNotFoundError) as problem:
            self.__exit__(None, None, None)
            raise Unable(str(problem)) from None
        return self

    def __exit__(self, *_):
        for name in [self.space(n) for n in self.machines] + [self.hub]:
            try:
                ip("netns", "del", name, check=False)
            except FileNotFoundError:
                return

    def crossed(self):
        """Bytes from the first site to the second, and back, so far."""
        told = ip("-n", self.hub, "-s", "-j", "link", "show", "dev", "way0")
        stats = json.loads(told.stdout)[0]["stats64"]
        return stats["tx"]["bytes"], stats["rx"]["bytes"]

    def cut_way(self, sender, receiver):
        """What `sender` sends to `receiver` is lost."""
        self.cuts.add((sender, receiver))
        ip("-n", self.space(sender), "neigh", "replace", self.address(receiver), "lladdr", NOBODY,
           "dev", "eth0", "nud", "permanent")

    def cut(self, some, others):
        """Nothing passes between the one side and the other."""
        for a in some:
            for b in others:
                self.cut_way(a, b)
                self.cut_way(b, a)

    def heal(self):
        for sender, receiver in self.cuts:
            ip("-n", self.space(sender), "neigh", "del", self.address(receiver), "dev", "eth0")
        self.cuts.clear()


if __name__ == "__main__":
    try:
        with Net(["a", "b"]) as made:
            print("namespaces can be made:", made.hub)
    except Unable as why:
        print(why, file=sys.stderr)
        sys.exit(77)
