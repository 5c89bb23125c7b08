# SPDX-License-Identifier: GPL-3.0-or-later
"""open_elsewhere.py A B: a file is open at mount A, while its names change at mount B: removed, renamed,
linked, replaced. A has seen that, then writes on, with or without something unsent from before. What it
writes lands in the file that it opened, under the names that it has now: nothing that was removed comes
back, nothing lands under a name that another file has."""
import errno
import os
import re
import sys
import time

BOUND_S = 20  # far above what it takes
MADE = re.compile(r"\.conflict-\d{8}T\d{6}Z-.*-[0-9a-f]{8,16}$")
A, B = sys.argv[1:]
BIG = b"x" * 100_000


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def until(what, condition):
    end = time.monotonic() + BOUND_S
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.01)


def gone(path):
    return not os.path.lexists(path)


def unlinked(b):
    os.unlink(b + "/f")
    return {}, lambda a: gone(a + "/f")


def renamed(b):
    os.rename(b + "/f", b + "/g")
    return {"g": 1}, lambda a: gone(a + "/f") and not gone(a + "/g")


def renamed_far(b):
    os.rename(b + "/f", b + "/sub/g")
    return {"sub/g": 1}, lambda a: gone(a + "/f") and not gone(a + "/sub/g")


def retaken(b):
    os.rename(b + "/f", b + "/g")
    put(b + "/f", b"new")
    return {"g": 1, "f": b"new"}, lambda a: get(a + "/f") == b"new" and not gone(a + "/g")


def parent_renamed(b):
    os.rename(b + "/f", b + "/sub/f")
    os.rename(b + "/sub", b + "/moved")
    return {"moved/f": 1}, lambda a: gone(a + "/f") and not gone(a + "/moved/f")


def linked(b):
    os.link(b + "/f", b + "/g")
    return {"f": 2, "g": 2}, lambda a: not gone(a + "/g") and os.stat(a + "/f").st_nlink == 2


def linked_far(b):
    os.link(b + "/f", b + "/sub/g")
    return {"f": 2, "sub/g": 2}, lambda a: not gone(a + "/sub/g") and os.stat(a + "/f").st_nlink == 2


def linked_and_unlinked(b):
    os.link(b + "/f", b + "/sub/g")
    os.unlink(b + "/f")
    return {"sub/g": 1}, lambda a: gone(a + "/f") and not gone(a + "/sub/g")


def replaced(b):
    put(b + "/t", b"newer")
    os.rename(b + "/t", b + "/f")
    return {"f": b"newer", "f!": 1}, lambda a: os.stat(a + "/f").st_ino == os.stat(b + "/f").st_ino


def made_anew(b):
    os.unlink(b + "/f")
    put(b + "/f", b"anew")
    return {"f": b"anew", "f!": 1}, lambda a: os.stat(a + "/f").st_ino == os.stat(b + "/f").st_ino


CLEAN = (unlinked, renamed, renamed_far, retaken, parent_renamed, linked, linked_far,
         linked_and_unlinked, replaced, made_anew)
UNSENT = (linked, linked_far)  # where names go an edit that was not seen keeps them: conflicts/table.txt


def tree(top):
    """Path: (contents, link count); what stands beside a name is told as NAME!."""
    out = {}
    for at, _, names in os.walk(top):
        for name in names:
            path = os.path.join(at, name)
            shown = MADE.sub("!", os.path.relpath(path, top))
            assert shown not in out, f"{path}: another one"
            out[shown] = (get(path), os.stat(path).st_nlink)
    return out


def one(case, text, unsent):
    name = f"{case.__name__}{'-large' if len(text) > 100 else ''}{'-unsent' if unsent else ''}"
    a, b = f"{A}/{name}", f"{B}/{name}"
    os.makedirs(a + "/sub")
    put(a + "/f", text)
    until(f"{name}: the file at the other mount", lambda: get(b + "/f") == text)
    fd = os.open(a + "/f", os.O_RDWR | os.O_APPEND)
    os.read(fd, 10)
    if unsent:
        os.write(fd, b"+unsent")
    names, seen = case(b)
    until(f"{name}: that it is seen", lambda: seen(a))
    os.write(fd, b"+written")
    failed = 0
    for call in (os.fsync, os.close):
        try:
            call(fd)
        except OSError as error:
            failed = error.errno
    whole = text + (b"+unsent" if unsent else b"") + b"+written"
    # nobody is told that something is stored which has no name
    assert failed == (0 if names else errno.ESTALE), f"{name}: {failed}"
    return name, {p: (whole, n) if isinstance(n, int) else (n, 1) for p, n in names.items()}


def short(files):
    return {path: (data[-30:], links) for path, (data, links) in files.items()}


def main():
    cases = [(case, False) for case in CLEAN] + [(case, True) for case in UNSENT]
    wanted = dict(one(case, text, unsent) for case, unsent in cases for text in (b"text", BIG))
    for name, want in wanted.items():
        for top in (A, B):
            until(f"{name} at {top}: {short(want)}, which has {short(tree(f'{top}/{name}'))}",
                  lambda top=top, name=name, want=want: tree(f"{top}/{name}") == want)
    time.sleep(2)  # what would come back would do so by the timers of the mounts
    for name, want in wanted.items():
        for top in (A, B):
            got = tree(f"{top}/{name}")
            assert got == want, f"{name} at {top}: {short(got)}, not {short(want)}"
    print(f"{len(wanted)} open files")


main()
