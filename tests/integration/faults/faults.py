#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""faults.py - hurts a running cluster while two clients write, and looks what is left.

    faults.py FOLDER [SCENARIO...]      exit status 1: something does not hold, 77: cannot run here

Three nodes and two clients, each in a network namespace of its own (net.py). A scenario runs with
both clients writing (load.c): a calm span, the fault, a calm span. Then all nodes are up again, and
what was written is compared with what is there (check.py). KITH_LONG=1 takes the long spans.

What a scenario prints: acknowledged writes a second before, during and after; of the span with the
fault the outcomes that were not "ok", the longest request, and the longest time in which nothing of
a client was acknowledged.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check  # noqa: E402
from certs import Certs  # noqa: E402
from net import Net, Unable  # noqa: E402

BIN = os.environ["KITH_BIN"]
LONG = bool(os.environ.get("KITH_LONG"))
NODES = ["n1", "n2", "n3"]
CLIENTS = ["c1", "c2"]
KEYS = 150
SMALL_DISK = 256 << 20
UP_S = 60         # all nodes must be up that long after the last fault, at most
AGREE_S = 60      # and after that the owners of a row hold the same of it
CALM_S = 4 if LONG else 2


def now_us():
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)


class Failed(Exception):
    pass


class Cluster:
    def __init__(self, net, folder):
        self.net, self.folder = net, folder
        self.processes = {}
        self.mounted = []
        self.certs = Certs(os.path.join(folder, "certs"))
        self.servers = ",".join(f"{net.address(n)}:7070" for n in NODES)

    def data(self, node):
        return os.path.join(self.folder, node)

    def log(self, node):
        return os.path.join(self.folder, f"{node}.log")

    def small_disk(self, node):
        """A disk of its own, of 256 MiB, where one can be mounted."""
        os.makedirs(self.data(node))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs",
                               self.data(node)], capture_output=True, text=True)
        if done.returncode == 0:
            self.mounted.append(self.data(node))

    def start(self, node):
        os.makedirs(self.data(node), exist_ok=True)
        self.processes[node] = subprocess.Popen(
            self.net.command(node, f"{BIN}/kithd", "--data", self.data(node), "--listen",
                             f"{self.net.address(node)}:7070", "--cache", "64M", "--log",
                             self.log(node), *self.certs.node()),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(self, node, number):
        self.processes[node].send_signal(number)

    def end(self, node, number=signal.SIGTERM, timeout_s=30):
        """Its exit status."""
        process = self.processes.pop(node)
        process.send_signal(number)
        if number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{node} does not end within {timeout_s} s") from None

    def ctl(self, *words, at="c1"):
        return subprocess.run(self.net.command(at, f"{BIN}/kithctl", *words), capture_output=True,
                              text=True)

    def form(self):
        self.small_disk("n2")
        for node in NODES:
            self.start(node)
        address = {node: f"{self.net.address(node)}:7070" for node in NODES}
        self.until(20, "a first node",
                   lambda: self.ctl("init", address["n1"], "--partitions", "64").returncode == 0)
        for node in NODES[1:]:
            self.until(20, f"{node} to join",
                       lambda n=node: self.ctl("join", address[n], "--through",
                                               address["n1"]).returncode == 0)
        self.whole()

    def until(self, seconds, what, condition):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"waited {seconds} s in vain for {what}")
            time.sleep(0.05)

    def whole(self):
        """Until every node says that all are up."""
        last = []

        def asked():
            status = self.ctl("status", "--servers", self.servers)
            last[:] = [status.stdout + status.stderr]
            return status.returncode == 0
        try:
            self.until(UP_S, "all nodes to be up", asked)
        except Failed as problem:
            raise Failed(f"{problem}:\n{''.join(last)}") from None

    def stop(self):
        for node in list(self.processes):
            try:
                self.end(node, timeout_s=10)
            except Failed as problem:
                print(problem)
        for path in self.mounted:
            subprocess.run(["umount", path], check=False)


class Load:
    """Both clients, from start to end."""

    def __init__(self, cluster, prefix, strict):
        self.cluster, self.prefix, self.strict = cluster, prefix, strict
        self.logs, self.processes = {}, {}
        for client in CLIENTS:
            path = os.path.join(cluster.folder, f"{prefix}-{client}.history")
            self.logs[client] = path
            with open(path, "wb") as out:
                self.processes[client] = subprocess.Popen(
                    cluster.net.command(client, f"{BIN}/tests/integration/fault_load", "run",
                                        "--servers", cluster.servers, "--name",
                                        f"{client}{prefix}", "--prefix", f"{prefix}-", "--keys",
                                        str(KEYS), "--threads", "4",
                                        *(["--strict"] if strict else [])),
                    stdin=subprocess.DEVNULL, stdout=out)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        bad = []
        for client, process in self.processes.items():
            try:
                if process.wait(60) != 0:
                    bad.append(f"the load of {client} ended with {process.returncode}")
            except subprocess.TimeoutExpired:
                process.kill()
                bad.append(f"the load of {client} hangs: a request does not end")
        if bad:
            raise Failed("; ".join(bad))

    def history(self):
        history = check.History()
        for path in self.logs.values():
            history.load(path)
        return history


# ---- What is done to it ----

def kill_loop(cluster, seconds):
    """kill -9 of a node drawn at random, started again at once, without pause."""
    deadline = time.monotonic() + seconds
    kills = 0
    while time.monotonic() < deadline:
        node = random.choice(NODES)
        cluster.end(node, signal.SIGKILL)
        cluster.start(node)
        kills += 1
        cluster.whole()
        time.sleep(0.3)
    return f"{kills} kills"


def freeze(cluster, seconds):
    """SIGSTOP of one node."""
    cluster.send("n2", signal.SIGSTOP)
    time.sleep(seconds)
    cluster.send("n2", signal.SIGCONT)
    return f"n2 for {seconds} s"


def split(cluster, seconds):
    """One node with a client cut off from two with the other; then two with it from one."""
    for side in (["n1", "c1"], ["n1", "n2", "c1"]):
        cluster.net.cut(side, [m for m in NODES + CLIENTS if m not in side])
        time.sleep(seconds / 2)
        cluster.net.heal()
        time.sleep(1)
    return "1|2, then 2|1"


def one_way(cluster, seconds):
    """What n1 sends to n2 is lost; then what n2 and n3 send to n1."""
    cluster.net.cut_way("n1", "n2")
    time.sleep(seconds / 2)
    cluster.net.heal()
    cluster.net.cut_way("n2", "n1")
    cluster.net.cut_way("n3", "n1")
    time.sleep(seconds / 2)
    cluster.net.heal()
    return "n1 to n2, then n2 and n3 to n1"


def rolling(cluster, seconds):
    """Each node in turn is stopped as for an upgrade and started when the rest is whole."""
    rounds = 0
    deadline = time.monotonic() + seconds
    while rounds == 0 or time.monotonic() < deadline:
        for node in NODES:
            status = cluster.end(node)
            if status != 0:
                raise Failed(f"{node} ended with {status} when told to stop")
            time.sleep(0.5)
            cluster.start(node)
            cluster.whole()
        rounds += 1
    return f"{rounds} round{'s' if rounds > 1 else ''}"


def old_disk(cluster, seconds):
    """A node's disk as it was some time ago takes the place of what it is now."""
    copy = cluster.data("n3") + ".old"
    cluster.end("n3")
    shutil.copytree(cluster.data("n3"), copy)
    cluster.start("n3")
    cluster.whole()
    time.sleep(seconds / 2)
    cluster.end("n3", signal.SIGKILL)
    shutil.rmtree(cluster.data("n3"))
    os.rename(copy, cluster.data("n3"))
    cluster.start("n3")
    time.sleep(seconds / 2)
    return f"n3, {seconds / 2:.0f} s back"


def full_disk(cluster, seconds):
    """A node's disk fills up, and is emptied again."""
    disk = cluster.data("n2")
    filler = os.path.join(disk, "filler")
    if disk not in cluster.mounted:
        return "skipped: no disk of its own could be mounted"
    with open(filler, "wb") as out:
        try:
            while True:
                out.write(bytes(1 << 20))
        except OSError:
            pass
    time.sleep(seconds)
    running = cluster.processes["n2"].poll() is None
    os.remove(filler)
    if not running:
        cluster.processes.pop("n2")
        cluster.start("n2")
        return "n2 ended on a full disk"
    return f"n2 for {seconds} s"


def flip(path, marks):
    """Flips a bit of a byte that is in use: behind the first of the marks that is there. What it
    was."""
    with open(path, "r+b") as file:
        whole = file.read()
        found = [at for at in (whole.find(mark) for mark in marks) if at >= 0]
        at = found[0] if found else len(whole) // 2
        file.seek(at)
        file.write(bytes([whole[at] ^ 0x10]))
    return f"byte {at} of {len(whole)}{'' if found else ', maybe not in use'}"


def flipped_byte(cluster, seconds):
    """A byte of a row on a node's disk is another one after a stop. It must never be given out. The
    node sets the file aside, at its start or at the one after it has met the byte, and goes on."""
    disk = cluster.data("n3")
    cluster.end("n3")
    what = flip(os.path.join(disk, "wt", "rows.wt"), [b"flipped-byte-", b"old-disk-", b"kill-"])
    cluster.start("n3")
    time.sleep(seconds)
    if cluster.processes["n3"].poll() is not None:
        cluster.processes.pop("n3")
        cluster.start("n3")
        time.sleep(seconds)
        what += ": n3 ended"
    if cluster.processes["n3"].poll() is not None:
        raise Failed(f"{what}: n3 does not come up by itself")
    aside = os.path.isdir(os.path.join(disk, "damaged"))
    return f"{what}: n3 runs on, {'its rows were' if aside else 'nothing was'} set aside"


def wiped_disk(cluster, seconds):
    """A node's disk is gone. A new node at its address, with an empty directory, takes its place, as
    an administrator has it done."""
    address = f"{cluster.net.address('n3')}:7070"
    servers = ",".join(f"{cluster.net.address(node)}:7070" for node in ("n1", "n2"))

    def nodes():
        told = cluster.ctl("status", "--json", "--servers", servers)
        return json.loads(told.stdout)["nodes"] if told.stdout else []
    old = [node["node"] for node in nodes() if node["address"] == address][0]
    cluster.end("n3", signal.SIGKILL)
    for entry in os.scandir(cluster.data("n3")):
        shutil.rmtree(entry.path) if entry.is_dir() else os.remove(entry.path)
    cluster.start("n3")
    last = []

    def done(*words):
        told = cluster.ctl("plan", *words, "--servers", servers)
        last[:] = [told.stdout + told.stderr]
        return told.returncode == 0
    try:
        cluster.until(60, "the replacement to be planned", lambda: done("replace", old, address))
        cluster.until(60, "the replacement to be done", lambda: done("apply", "--wait"))
    except Failed as problem:
        raise Failed(f"{problem}:\n{''.join(last)}") from None
    time.sleep(seconds)
    if [node["node"] for node in nodes() if node["address"] == address] == [old]:
        raise Failed("the new node has the old one's uuid")
    return "n3 is another node"


# Sloppy clients but where it says strict: those are refused without a quorum, and in return read
# what was acknowledged last.
#            name       short s  long s
SCENARIOS = [("kill", kill_loop, 8, 300), ("freeze", freeze, 5, 30), ("split", split, 8, 60),
             ("split-strict", split, 8, 60), ("kill-strict", kill_loop, 6, 60),
             ("one-way", one_way, 6, 30), ("rolling", rolling, 1, 60),
             ("old-disk", old_disk, 4, 20), ("full-disk", full_disk, 4, 30),
             ("flipped-byte", flipped_byte, 3, 10),
             ("wiped-disk", wiped_disk, 3, 10)]


# ---- One scenario ----

def report(name, told, history, spans):
    before, during, after = spans
    rates = [check.figures(history, *span)[0] for span in spans]
    others = check.figures(history, during[0], after[0])[1]
    outcomes = ", ".join(f"{count} {word}" for word, count in others.items())
    whole = (before[0], after[1])
    gaps = [check.longest_gap_us(history, *whole, client=f"{c}{name}") / 1e6 for c in CLIENTS]
    print(f"{name:<12}  {told}: {rates[0]:.0f} / {rates[1]:.0f} / {rates[2]:.0f} writes/s; "
          f"{outcomes or 'all'}{'' if outcomes else ' ok'}; longest request "
          f"{check.longest_us(history, *whole) / 1e6:.2f} s, longest without a write "
          f"{gaps[0]:.2f} s and {gaps[1]:.2f} s", flush=True)


def agreed(cluster, name):
    """All owners hold the same of some keys, and all of it."""
    keys = [f"{name}-{number}" for number in range(0, KEYS, KEYS // 10)]
    waiting = []

    def all_agree():
        waiting[:] = []
        for key in keys:
            told = cluster.ctl("explain", key, "--json", "--servers", cluster.servers)
            rows = json.loads(told.stdout)["rows"] if told.returncode in (0, 5) else None
            if not rows or not rows[0]["agree"] or rows[0]["answered"] != len(NODES):
                waiting.append(f"{key}: {told.stdout}{told.stderr}")
        return not waiting
    try:
        cluster.until(AGREE_S, "owners to hold the same", all_agree)
    except Failed as problem:
        raise Failed(f"{problem}: {waiting[0]}") from None


def judge(cluster, load, name):
    final_text = subprocess.run(
        cluster.net.command("c1", f"{BIN}/tests/integration/fault_load", "read", "--servers",
                            cluster.servers, "--prefix", f"{name}-", "--keys", str(KEYS),
                            "--timeout-ms", "20000"),
        capture_output=True, text=True)
    final, errors = check.read_final(final_text.stdout)
    if errors or len(final) != KEYS:
        raise Failed(f"{len(errors)} of {KEYS} keys cannot be read, as {errors[:3]} "
                     f"{final_text.stderr.strip()}")
    history = load.history()
    several = sum(1 for ids in final.values() if len(ids) > 1)
    complaints = check.judge(history, final, load.strict)
    agreed(cluster, name)
    return history, complaints, several


def run(cluster, name, fault, seconds, strict):
    """The load, where all held."""
    load = Load(cluster, name, strict)
    complaints = []
    try:
        time.sleep(CALM_S)
        began = now_us()
        told = fault(cluster, seconds)
        ended = now_us()
        cluster.whole()
        whole = now_us()
        time.sleep(CALM_S)
        last = now_us()
    finally:
        cluster.net.heal()
        load.stop()
    history, complaints, several = judge(cluster, load, name)
    first = began - int(CALM_S * 0.75e6)  # clients need a moment to connect
    report(name, told, history, ((first, began), (began, ended), (whole, last)))
    verdict = "wrong" if complaints else "as it must be"
    print(f"{'':<12}  {len(history.writes)} writes, {several} of {KEYS} keys with several versions,"
          f" {verdict}", flush=True)
    tell(name, complaints)
    return load if not complaints else None


def tell(name, complaints):
    for kind, text in complaints:
        print(f"{name:<12}  {kind.upper()}: {text}", flush=True)


def tails(cluster):
    for node in NODES:
        try:
            with open(cluster.log(node), encoding="utf-8", errors="replace") as log:
                print(f"---- {node}", *(line[:300].rstrip() for line in log.readlines()[-15:]),
                      sep="\n")
        except OSError:
            pass


def main():
    folder, wanted = sys.argv[1], sys.argv[2:]
    check.self_test()
    known = [name for name, *_ in SCENARIOS]
    if set(wanted) - set(known):
        sys.exit(f"no such scenario; there are {' '.join(known)}")
    good = True
    try:
        with Net(NODES + CLIENTS) as net:
            cluster = Cluster(net, folder)
            try:
                cluster.form()
                loads = []
                for name, fault, short_s, long_s in SCENARIOS:
                    if not wanted or name in wanted:
                        loads.append((name, run(cluster, name, fault, long_s if LONG else short_s,
                                                name.endswith("-strict"))))
                for name, load in loads: # what was there is there after all that came later
                    complaints = judge(cluster, load, name)[1] if load else []
                    tell(f"{name}, later", complaints)
                    good = good and load is not None and not complaints
            except Failed as problem:
                print(f"FAILED: {problem}")
                good = False
            finally:
                cluster.stop()
                if not good:
                    tails(cluster)
    except Unable as why:
        print(f"network namespaces cannot be made here: {why}")
        sys.exit(77)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
