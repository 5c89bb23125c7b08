#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""mktree.py DIR : deterministic synthetic source tree: 300 directories, 5000 text files,
log-normal sizes (median 4000 B, sigma 0.9 -> mean ~6000 B). Same bytes on every run (seed 42)."""
import os, random, sys, math
def make(root, nfiles=5000, ndirs=300, seed=42):
    r = random.Random(seed)
    words = ["".join(r.choice("abcdefghijklmnopqrstuvwxyz_") for _ in range(r.randint(2, 11))) for _ in range(3000)]
    dirs = [root]
    os.makedirs(root)
    for i in range(ndirs - 1):
        p = r.choice(dirs[-60:] if r.random() < .7 else dirs)
        d = os.path.join(p, "d%03d_%s" % (i, r.choice(words)))
        if d.count("/") - root.count("/") > 8: d = os.path.join(root, "d%03d_%s" % (i, r.choice(words)))
        os.mkdir(d); dirs.append(d)
    tot = 0
    for i in range(nfiles):
        size = max(1, min(400000, int(r.lognormvariate(math.log(4000), .9))))
        out, n = [], 0
        while n < size:
            l = " ".join(r.choices(words, k=r.randint(1, 12))) + "\n"
            out.append(l); n += len(l)
        b = "".join(out)[:size].encode()
        p = os.path.join(r.choice(dirs), "f%04d_%s.c" % (i, r.choice(words)))
        with open(p, "wb") as f: f.write(b)
        os.utime(p, (1700000000 + i, 1700000000 + i)); tot += size
    for d in dirs: os.utime(d, (1700000000, 1700000000))
    return tot
if __name__ == "__main__":
    print("bytes", make(sys.argv[1].rstrip("/")))
