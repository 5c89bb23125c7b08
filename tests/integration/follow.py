# SPDX-License-Identifier: GPL-3.0-or-later
"""follow.py A B: what is done at mount A is seen at mount B, by programs that look all the time. Each
change is made several times, and most must be seen within PROMISED_S: a loaded machine may be late now
and then. It must be seen at all within BOUND_S."""
import concurrent.futures
import os
import subprocess
import sys
import time

A, B = sys.argv[1:]
PROMISED_S, BOUND_S, TRIES = 2.0, 20.0, 5


def get(path):
    with open(path, "rb") as f:
        return f.read()


def seen(condition):
    start = time.monotonic()
    while not condition():
        if time.monotonic() > start + BOUND_S:
            return None
        time.sleep(0.02)
    return time.monotonic() - start


def tell(what, times):
    if None in times:
        sys.exit(f"{what}: not seen within {BOUND_S} s: {times}")
    late = sum(t > PROMISED_S for t in times)
    print(f"{what}: {max(times):.2f} s at most, {late} of {len(times)} late")
    if late > len(times) // 2:
        sys.exit(f"{what}: {late} of {len(times)} took longer than {PROMISED_S} s: {times}")


def output(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout


class Writer:
    """Another process, which has the log open and appends a line when it is told to: nothing is closed,
    nor synced. (Who forks closes what the child inherits, and that stores it.)"""
    def __init__(self, path):
        code = "import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n" \
               "for line in sys.stdin: print(os.write(fd, line.encode()), flush=True)\n"
        self.run = subprocess.Popen([sys.executable, "-c", code, path], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def append(self, line):
        self.run.stdin.write(line)
        self.run.stdin.flush()
        return int(self.run.stdout.readline())

    def end(self):
        self.run.stdin.close()
        assert self.run.wait() == 0


def loops(who, tries, append, looks):
    """After each append all that look do so at the same time: NAME: what it sees, of a line and a size."""
    times = {how: [] for how in looks}
    for _ in range(tries):
        line, size = append()
        want = {"line": line, "size": size}
        with concurrent.futures.ThreadPoolExecutor(len(looks)) as pool:
            found = {how: pool.submit(seen, lambda see=see, want=want: see() in want.values())
                     for how, see in looks.items()}
            for how, future in found.items():
                times[how].append(future.result())
        if any(None in ts for ts in times.values()):
            break
    for how in looks:
        tell(f"{how} {who}", times[how])


def logs(size, tries):
    """A log of so many bytes at first, which stays open and grows."""
    name, n = f"log{size}", 0
    path = f"{B}/{name}"
    with open(f"{A}/{name}", "wb") as f:
        f.write(b"x" * (size - 1) + b"\n")
    assert seen(lambda: os.path.exists(path) and os.stat(path).st_size == size) is not None
    writer = Writer(f"{A}/{name}")

    def append():
        nonlocal n, size
        n += 1
        size += writer.append(f"line {n}\n")
        return b"line %d\n" % n, size

    what = f"of a log of {size} bytes that stays open"
    loops(what, tries, append, {
        "tail -n1": lambda: output("tail", "-n1", path),
        "cat": lambda: output("cat", path)[-len(b"line %d\n" % n):],
        "stat": lambda: os.stat(path).st_size,
        "ls": lambda: int(output("ls", "-l", path).split()[4]),
    })
    reader = os.open(path, os.O_RDONLY)  # it stays open, and nobody opens it again
    loops(f"{what}, by who has it open himself", tries, append, {
        "read": lambda: os.pread(reader, 100, size - len(b"line %d\n" % n)),
        "fstat": lambda: os.fstat(reader).st_size,
        "stat": lambda: os.stat(path).st_size,
    })
    assert os.pread(reader, 2 * size, 0) == get(f"{A}/{name}")
    whole = get(path)
    with open(f"{A}/{name}", "r+b") as f:  # no append: who reads the file that he opened goes on so
        f.write(b"other")
        f.seek(0, os.SEEK_END)
        f.write(b"more\n")
    os.chmod(f"{A}/{name}", 0o604)
    assert seen(lambda: os.stat(path).st_mode & 0o777 == 0o604) is not None  # that of it is
    assert os.pread(reader, 2 * size, 0) == whole and os.fstat(reader).st_size == size
    assert get(path) == b"other" + whole[5:] + b"more\n"
    writer.end()
    os.close(reader)


def changes():
    """Of names and attributes, each by a look at it all the time."""
    def there(name):
        return os.path.lexists(f"{B}/{name}")

    steps = {
        "a file made": (lambda i: open(f"{A}/f{i}", "wb").close(), lambda i: there(f"f{i}")),
        "a mode": (lambda i: os.chmod(f"{A}/f{i}", 0o600),
                   lambda i: os.stat(f"{B}/f{i}").st_mode & 0o777 == 0o600),
        "a time": (lambda i: os.utime(f"{A}/f{i}", (i, i)),
                   lambda i: os.stat(f"{B}/f{i}").st_mtime == i),
        "contents": (lambda i: output("cp", "/etc/passwd", f"{A}/f{i}"),
                     lambda i: os.stat(f"{B}/f{i}").st_size == os.stat("/etc/passwd").st_size),
        "a rename": (lambda i: os.rename(f"{A}/f{i}", f"{A}/g{i}"),
                     lambda i: b"g%d\n" % i in output("ls", B)),
        "a removal": (lambda i: os.unlink(f"{A}/g{i}"),
                      lambda i: b"g%d\n" % i not in output("ls", B)),
        "a directory made": (lambda i: os.mkdir(f"{A}/d{i}"), lambda i: b"d%d\n" % i in output("ls", B)),
        "a directory's end": (lambda i: os.rmdir(f"{A}/d{i}"), lambda i: not there(f"d{i}")),
    }
    for what, (do, condition) in steps.items():
        times = []
        for i in range(TRIES):
            do(i)
            times.append(seen(lambda i=i, condition=condition: condition(i)))
        tell(what, times)


logs(10, TRIES)
logs(300_000, 3)
changes()
