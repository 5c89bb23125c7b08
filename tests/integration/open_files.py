#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""open_files.py make|check DIR FILE: files that are open, with something unsent, while their names change:
renamed, linked, removed, replaced. What is written lands in the file that was opened, under the names
that it has, and nowhere else; what has no name any more does not come back.

`make` does it, looks, and writes what there must be into FILE; `check` looks again, after a remount.
DIR is the root of an empty mount. Each case is done with contents
that stay in the row and with larger ones, and stored by close, by fsync, and by time alone."""
import hashlib
import json
import os
import sys

from cases import EXCHANGE, get, put, renameat2
from fake import wait_for

BIG = b"x" * 100_000
HOW = ("close", "fsync", "later")


def link(d, _):
    os.link(d + "/f", d + "/g")
    return {"f": 2, "g": 2}


def link_far(d, _):
    os.link(d + "/f", d + "/sub/g")
    return {"f": 2, "sub/g": 2}


def link_far_of_two(d, fd):
    link(d, fd)
    os.write(fd, b"+two")
    os.link(d + "/g", d + "/sub/h")
    return {"f": 3, "g": 3, "sub/h": 3}


def link_and_unlink(d, fd):
    link(d, fd)
    os.unlink(d + "/f")
    return {"g": 1}


def link_far_and_unlink(d, fd):
    link_far(d, fd)
    os.write(fd, b"+two")
    os.unlink(d + "/f")
    return {"sub/g": 1}


def link_and_back(d, fd):
    link_far(d, fd)
    os.write(fd, b"+two")
    os.unlink(d + "/sub/g")
    return {"f": 1}


def link_and_none(d, fd):
    link_far(d, fd)
    os.write(fd, b"+two")
    os.unlink(d + "/f")
    os.unlink(d + "/sub/g")
    return {}


def link_renamed_over(d, fd):
    link_far(d, fd)
    put(d + "/n", b"other")
    os.rename(d + "/n", d + "/f")
    return {"sub/g": 1, "f": b"other"}


def rename(d, _):
    os.rename(d + "/f", d + "/g")
    return {"g": 1}


def rename_far(d, _):
    os.rename(d + "/f", d + "/sub/g")
    return {"sub/g": 1}


def rename_and_retaken(d, _):
    os.rename(d + "/f", d + "/g")
    put(d + "/f", b"other")
    return {"g": 1, "f": b"other"}


def rename_far_and_retaken(d, fd):
    os.rename(d + "/f", d + "/sub/f")
    os.write(fd, b"+two")
    put(d + "/f", b"other")
    return {"sub/f": 1, "f": b"other"}


def rename_twice(d, fd):
    os.rename(d + "/f", d + "/g")
    os.write(fd, b"+two")
    os.rename(d + "/g", d + "/sub/h")
    os.rename(d + "/sub/h", d + "/f")
    return {"f": 1}


def rename_over(d, _):
    put(d + "/g", b"replaced")
    os.rename(d + "/f", d + "/g")
    return {"g": 1}


def replaced(d, _):
    put(d + "/g", b"other")
    os.rename(d + "/g", d + "/f")
    return {"f": b"other"}


def exchanged(d, _):
    put(d + "/g", b"other")
    renameat2(d + "/f", d + "/g", EXCHANGE)
    return {"g": 1, "f": b"other"}


def parent_renamed(d, fd):
    os.rename(d + "/f", d + "/sub/f")
    os.write(fd, b"+two")
    os.rename(d + "/sub", d + "/moved")
    os.mkdir(d + "/sub")
    put(d + "/sub/f", b"other")
    return {"moved/f": 1, "sub/f": b"other"}


def unlinked(d, _):
    os.unlink(d + "/f")
    return {}


def unlinked_and_retaken(d, _):
    os.unlink(d + "/f")
    put(d + "/f", b"other")
    return {"f": b"other"}


def removed_with_parent(d, fd):
    os.rename(d + "/f", d + "/sub/f")
    os.write(fd, b"+two")
    os.unlink(d + "/sub/f")
    os.rmdir(d + "/sub")
    return {}


CASES = (link, link_far, link_far_of_two, link_and_unlink, link_far_and_unlink, link_and_back,
         link_and_none, link_renamed_over, rename, rename_far, rename_and_retaken,
         rename_far_and_retaken, rename_twice, rename_over, replaced, exchanged, parent_renamed,
         unlinked, unlinked_and_retaken, removed_with_parent)


def tree(d):
    """Path: (contents, link count), of all files."""
    out = {}
    for at, _, names in os.walk(d):
        for name in names:
            path = os.path.join(at, name)
            out[os.path.relpath(path, d)] = (get(path), os.stat(path).st_nlink)
    return out


def shown(files):
    """As short as it can be told, and written down."""
    return {path: [len(data), hashlib.md5(data).hexdigest(), data[-20:].decode(), links]
            for path, (data, links) in sorted(files.items())}


def work(case, d, text):
    """The tree that there must be."""
    os.makedirs(d + "/sub")
    fd = os.open(d + "/f", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.write(fd, text[:-6])
    if d.endswith("stored"):  # it has a row; else it is not there yet but in memory
        os.fsync(fd)
    os.write(fd, text[-6:])
    names = case(d, fd)
    os.write(fd, b"+after")
    whole = os.pread(fd, 2 * len(BIG), 0)
    assert whole in (text + b"+after", text + b"+two+after"), whole[-60:]
    assert os.fstat(fd).st_nlink == max([n for n in names.values() if isinstance(n, int)] + [0])
    want = {path: (whole, n) if isinstance(n, int) else (n, 1) for path, n in names.items()}
    assert tree(d) == want, f"while it is open: {shown(tree(d))}"
    return fd, want


def places(top):
    for case in CASES:
        for size, text in (("small", b"text+unsent"), ("large", BIG + b"+unsent")):
            for how in HOW:
                for first in ("new", "stored"):
                    yield case, f"{top}/{case.__name__}-{size}-{how}-{first}", text, how


def make(top, told):
    wanted, open_ones = {}, []
    for case, d, text, how in places(top):
        try:
            fd, want = work(case, d, text)
            if how == "fsync":
                os.fsync(fd)
            if how == "later":
                open_ones.append(fd)
            else:
                os.close(fd)
                assert tree(d) == want, f"after the close: {shown(tree(d))}"
        except Exception as error:
            raise AssertionError(f"{d}: {error}") from error
        wanted[os.path.relpath(d, top)] = shown(want)
    wait_for("nothing to be unsent", lambda: " 0 files" in status(top, "Unsent"))
    for d, want in wanted.items():
        assert shown(tree(f"{top}/{d}")) == want, f"{d}, in the end: {shown(tree(f'{top}/{d}'))}"
    with open(told, "w") as f:
        json.dump(wanted, f)
    print(f"{len(wanted)} open files, {len(open_ones)} of them stored by time alone")


def status(top, word):
    with open(top + "/.kith/status") as f:
        return [line for line in f if line.startswith(word)][0]


def check(top, told):
    with open(told) as f:
        wanted = json.load(f)
    assert sorted(os.listdir(top)) == sorted(wanted), os.listdir(top)
    for d, want in wanted.items():
        assert shown(tree(f"{top}/{d}")) == want, f"{d}: {shown(tree(f'{top}/{d}'))}, not {want}"


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
