# SPDX-License-Identifier: GPL-3.0-or-later
"""world.py - a cluster in data centres, on an Ethernet of its own (net.py): each node and each mount
is a machine. For the programs of this folder and of ../conflicts.
"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import net as network  # noqa: E402
from certs import Certs  # noqa: E402

BIN = os.environ["KITH_BIN"]
LEVELS = "read=local-quorum,write=local-quorum"


class Failed(Exception):
    pass


class World:
    """zones: of each its machines, the last of which has the mount."""

    def __init__(self, net, folder, zones):
        self.net = net
        self.folder = folder
        self.zones = zones
        self.nodes = [n for names in zones.values() for n in names[:-1]]
        self.teller = next(iter(zones.values()))[-1]
        self.running = {}
        self.mounts = {}
        self.certs = Certs(f"{folder}/certs")

    def inside(self, machine, *words):
        """Of that machine's network, but with the mounts of this one."""
        return ["nsenter", f"--net=/run/netns/{self.net.space(machine)}", *words]

    def start(self, node, zone):
        log = open(f"{self.folder}/{node}.log", "ab")
        words = ["--data", f"{self.folder}/{node}", "--listen", f"{self.net.address(node)}:7070",
                 "--zone", zone, "--cache", "64M", *self.certs.node()]
        if node != self.nodes[0]:
            words += ["--join", f"{self.net.address(self.nodes[0])}:7070"]
        self.running[node] = subprocess.Popen(self.inside(node, f"{BIN}/kithd", *words),
                                              stdout=log, stderr=log)

    def ctl(self, machine, *words):
        return subprocess.run(self.inside(machine, f"{BIN}/kithctl", *words), capture_output=True,
                              text=True, timeout=60)

    def servers(self):
        return ",".join(f"{self.net.address(n)}:7070" for n in self.nodes)

    def form(self):
        for zone, names in self.zones.items():
            for node in names[:-1]:
                self.start(node, zone)
                if node == self.nodes[0]:
                    until(30, "the first node", lambda: self.ctl(
                        self.teller, "init", f"{self.net.address(node)}:7070", "--replicas",
                        str(len(self.nodes)), "--partitions", "32", "--zone",
                        zone).returncode == 0)
                until(60, f"{node} to join", lambda node=node: self.up() == len(self.running))

    def status(self):
        try:
            told = self.ctl(self.teller, "status", "--json", "--servers", self.servers())
            return json.loads(told.stdout)["nodes"]
        except (ValueError, KeyError, subprocess.TimeoutExpired):
            return []

    def up(self):
        return sum(n["state"] == "up" for n in self.status())

    def nothing_owed(self):
        nodes = self.status()
        return len(nodes) == len(self.nodes) and all(
            n["state"] == "up" and n["hints"] == 0 and n["thin_rows"] == 0 for n in nodes)

    def mount(self, zone, options=""):
        machine, at = self.zones[zone][-1], f"{self.folder}/mnt-{zone}"
        os.makedirs(at)
        near = ",".join(f"{self.net.address(n)}:7070" for n in self.zones[zone][:-1])
        done = subprocess.run(self.inside(machine, f"{BIN}/kithfs", f"{near}:/", at, "-o",
                                          f"{LEVELS},zone={zone},log={self.folder}/{zone}.log,{self.certs.mount()}"
                                          f"{options and ',' + options}"),
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failed(f"kithfs in {zone}: {done.stderr}")
        self.mounts[zone] = at
        return at

    def end(self):
        for at in self.mounts.values():
            subprocess.run(["fusermount3", "-uz", at], capture_output=True)
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.05)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read()


def play(folder, zones, far, run):
    """A world for run(world), in the folder; what main() ends with."""
    os.makedirs(folder)
    machines = [m for names in zones.values() for m in names]
    try:
        with network.Net(machines, zones[far]) as net:
            world = World(net, folder, zones)
            try:
                run(world)
            finally:
                net.heal()
                world.end()
    except network.Unable as why:
        print(why)
        return 77
    except Failed as why:
        print(f"FAIL: {why}")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".log"):
                print(f"---- {name}")
                sys.stdout.flush()
                subprocess.run(["tail", "-n", "15", f"{folder}/{name}"])
        return 1
    return 0
