#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""workloads.py DIR [--reps N] [--only a,b] [--pids FILE] [--lock FILE] [--raw FILE] [--fio-s S]
One workload script for any mounted directory. Prints `name value unit` per workload (median of reps);
with --pids (file: one pid per line) also daemon CPU seconds per section and VmRSS/VmHWM at the end.
Every section takes flock on --lock for its timed part (default $BENCH_LOCK or none).
'cold' = sync + drop_caches 3 before (drops the kernel's FUSE dentries/pages and the servers' page cache)."""
import os, sys, time, subprocess, json, fcntl, statistics, argparse, shutil, multiprocessing as mp
ap = argparse.ArgumentParser()
ap.add_argument("dir"); ap.add_argument("--reps", type=int, default=3); ap.add_argument("--only", default="")
ap.add_argument("--pids", default=""); ap.add_argument("--lock", default=os.environ.get("BENCH_LOCK", ""))
ap.add_argument("--raw", default=""); ap.add_argument("--fio-s", type=int, default=10)
ap.add_argument("--src", default="tree"); ap.add_argument("--tar", default="tree.tar")
ap.add_argument("--hold-s", type=int, default=60, help="release the lock at the first section end after this many seconds")
ap.add_argument("--backend", default="", help="comma list of the peer's data dirs: disk usage growth after untar")
A = ap.parse_args(); A.src, A.tar = os.path.abspath(A.src), os.path.abspath(A.tar)
D = os.path.join(A.dir, "fsb"); R = {}; U = {}; CPU = {}
def sh(c, **k): return subprocess.run(c, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, **k)
def pids():
    try: return [int(x) for x in open(A.pids).read().split()]
    except Exception: return []
def cpu():
    t = {}
    for p in pids():
        try:
            f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split(); t[p] = (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
        except OSError: pass
    return t
def wio():
    s = 0
    for p in pids():
        try: s += int([l for l in open(f"/proc/{p}/io") if l.startswith("write_bytes")][0].split()[1])
        except OSError: pass
    return s
def du():
    return sum(int(subprocess.run(["du", "-s", "--block-size=1", x], capture_output=True, text=True).stdout.split()[0]) for x in A.backend.split(",") if x)
def rec(n, v, u, note=""):
    R.setdefault(n, []).append(v); U[n] = u
    if A.raw: open(A.raw, "a").write(f"{n} {v:.6g} {u}\n")
def cold(): os.sync(); open("/proc/sys/vm/drop_caches", "w").write("3\n")
class T:
    def __init__(s, n, unit="s", ops=None): s.n, s.ops = n, ops
    def __enter__(s): s.c = cpu(); s.t = time.perf_counter(); return s
    def __exit__(s, *e):
        if e[0]: return
        d = time.perf_counter() - s.t
        if s.ops: rec(s.n, s.ops / d, "op/s")
        else: rec(s.n, d, "s")
        c = cpu()
        if c: CPU.setdefault(s.n, []).append(sum(c[p] - s.c.get(p, 0) for p in c))
B4 = os.urandom(4096)
def mk(d, n, data=B4, fs=False, pre="f"):
    for i in range(n):
        fd = os.open(f"{d}/{pre}{i:05d}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        if data: os.write(fd, data)
        if fs: os.fsync(fd)
        os.close(fd)
def s_small():
    d = D + "/small"; os.mkdir(d)
    with T("a_create_4k", ops=2000): mk(d, 2000)
    cold()
    with T("c_stat_cold", ops=2000):
        for i in range(2000): os.stat(f"{d}/f{i:05d}")
    with T("c_stat_warm", ops=2000):
        for i in range(2000): os.stat(f"{d}/f{i:05d}")
    cold()
    with T("d_ls_l_cold"): sh(f"ls -l {d}")
    with T("d_ls_l_again"): sh(f"ls -l {d}")
    cold()
    with T("e_read_4k_cold", ops=2000):
        for i in range(2000):
            with open(f"{d}/f{i:05d}", "rb", buffering=0) as f: assert len(f.read(8192)) == 4096
    with T("f_unlink", ops=2000):
        for i in range(2000): os.unlink(f"{d}/f{i:05d}")
    os.rmdir(d)
def s_fsync():
    d = D + "/fs"; os.mkdir(d)
    with T("b_create_4k_fsync", ops=200): mk(d, 200, fs=True)
    shutil.rmtree(d)
def s_meta():
    d = D + "/meta"; os.mkdir(d)
    with T("g_mkdir", ops=1000):
        for i in range(1000): os.mkdir(f"{d}/d{i}")
    with T("g_rmdir", ops=1000):
        for i in range(1000): os.rmdir(f"{d}/d{i}")
    mk(d, 1000, b"x")
    with T("h_rename", ops=1000):
        for i in range(1000): os.rename(f"{d}/f{i:05d}", f"{d}/g{i:05d}")
    shutil.rmtree(d)
def s_seq():
    p = D + "/big"; blk = os.urandom(1 << 20)
    t = time.perf_counter(); c0 = cpu()
    fd = os.open(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for i in range(256): os.write(fd, blk)
    os.fsync(fd); os.close(fd)
    rec("i_seqwrite", 256 / (time.perf_counter() - t), "MiB/s"); c = cpu(); CPU.setdefault("i_seqwrite", []).append(sum(c.values()) - sum(c0.values()))
    cold(); t = time.perf_counter(); c0 = cpu()
    with open(p, "rb", buffering=0) as f:
        n = 0
        while True:
            b = f.read(1 << 20)
            if not b: break
            n += len(b)
    assert n == 256 << 20
    rec("j_seqread_cold", 256 / (time.perf_counter() - t), "MiB/s"); c = cpu(); CPU.setdefault("j_seqread_cold", []).append(sum(c.values()) - sum(c0.values()))
def fio(name, extra):
    cold(); c0 = cpu()
    o = subprocess.run(f"fio --name=x --filename={D}/big --bs=4k --ioengine=psync --thread --group_reporting --output-format=json --runtime={A.fio_s} {extra}",
                       shell=True, capture_output=True, text=True, check=True).stdout
    j = json.loads(o[o.index("{"):])["jobs"][0]; k = "read" if "randread" in extra else "write"
    rec(name, j[k]["iops"], "IOPS"); rec(name + "_p99", j[k]["clat_ns"]["percentile"]["99.000000"] / 1e3, "us")
    c = cpu(); CPU.setdefault(name, []).append(sum(c.values()) - sum(c0.values()))
def s_fio():
    if not os.path.exists(D + "/big"): s_seq()
    fio("k_randread_1", "--rw=randread --size=256m")                      # every block at most once, page cache dropped before
    fio("k_randread_16thr", "--rw=randread --numjobs=16 --size=16m --offset_increment=16m")
    fio("l_randwrite", "--rw=randwrite --size=256m --time_based --end_fsync=1")
    fio("l_randwrite_fsync1", "--rw=randwrite --size=256m --fsync=1 --time_based".replace("--time_based", "--time_based --runtime=5"))
def s_tree():
    d = D + "/tree"; os.mkdir(d)
    sh(f"cat {A.tar}"); w0 = wio(); u0 = du()
    with T("m_untar"): sh(f"tar -C {d} -xf {A.tar}"); 
    os.sync()
    if pids(): rec("m_untar_daemon_write_bytes", (wio() - w0) / 1e6, "MB")
    if A.backend: time.sleep(2); os.sync(); rec("m_untar_disk_growth", (du() - u0) / 1e6, "MB")
    cold()
    with T("m_tar_md5_cold"): sh(f"set -o pipefail; tar -C {d} -cf - . | md5sum", executable="/bin/bash")
    with T("m_find_stat_warm"): sh(f"find {d} -newer /etc/hostname | wc -l")
    sh(f"tar -C {A.src} -cf - . | cat")   # source warm
    with T("m_rsync_a"): sh(f"rsync -a {A.src}/ {d}/rs/")
    with T("m_rsync_again"): sh(f"rsync -a {A.src}/ {d}/rs/")
    sh(f"diff -rq {A.src} {d}/rs")
    with T("m_rm_rf"): sh(f"rm -rf {d}/rs")
    shutil.rmtree(d)
def s_git():
    d = D + "/git"; os.mkdir(d); w = d + "/w"; e = dict(os.environ, GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b", GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="gc.auto", GIT_CONFIG_VALUE_0="0")
    os.mkdir(w); sh(f"tar -C {w} -xf {A.tar}")
    with T("n_git_init_add"): sh(f"cd {w} && git init -q && git add .", env=e)
    with T("n_git_commit"): sh(f"cd {w} && git commit -qm x", env=e)
    with T("n_git_status_warm"): sh(f"cd {w} && git status --porcelain", env=e)
    cold()
    with T("n_git_status_cold"): sh(f"cd {w} && git status --porcelain", env=e)
    with T("n_git_clone"): sh(f"git clone -q --no-local {w} {d}/c", env=e)
    sh(f"diff -rq --exclude=.git {w} {d}/c"); sh(f"rm -rf {d}")
def _par(d): os.mkdir(d); mk(d, 250)
def s_par():
    d = D + "/par"; os.mkdir(d)
    with T("o_create_8procs", ops=2000):
        ps = [mp.Process(target=_par, args=(f"{d}/{i}",)) for i in range(8)]
        [p.start() for p in ps]; [p.join() for p in ps]
        assert all(p.exitcode == 0 for p in ps)
    shutil.rmtree(d)
def s_sqlite():
    d = D + "/sq"; os.mkdir(d)
    ins = "".join(f"insert into t values({i},'row {i} {'x'*80}');" for i in range(1000))
    with T("p_sqlite_1000_1tx"): sh(f"sqlite3 -bail {d}/a.db", input=("create table t(i,s);begin;" + ins + "commit;").encode())
    with T("p_sqlite_50tx"): sh(f"sqlite3 -bail {d}/b.db", input=("create table t(i,s);" + "".join(f"insert into t values({i},'x');" for i in range(50))).encode())
    shutil.rmtree(d)
SECT = [("small", s_small, 0), ("fsync", s_fsync, 0), ("meta", s_meta, 0), ("seq", s_seq, 0), ("fio", s_fio, 1), ("par", s_par, 0), ("sqlite", s_sqlite, 0), ("tree", s_tree, 2), ("git", s_git, 2)]
only = set(filter(None, A.only.split(",")))
shutil.rmtree(D, ignore_errors=True); os.mkdir(D)
import signal
def _term(*a): raise SystemExit   # TERM: stop, print what was measured
signal.signal(signal.SIGTERM, _term)
lk = None; held = 0
def run():
  global lk, held
  for name, fn, maxr in SECT:
      if only and name not in only: continue
      for rep in range(min(A.reps, maxr or A.reps)):
          if A.lock and not lk: lk = open(A.lock, "a"); fcntl.flock(lk, fcntl.LOCK_EX); held = time.time()
          t0 = time.time(); bad = None
          try: fn()
          except subprocess.CalledProcessError as e: bad = f"rc={e.returncode} {(e.stderr or b'')[-300:]!r}"
          except Exception as e: bad = repr(e)
          el = time.time() - t0
          if bad: print(f"FAIL {name} {bad}", flush=True); shutil.rmtree(D, ignore_errors=True); os.makedirs(D, exist_ok=True)
          if lk and time.time() - held > A.hold_s: lk.close(); lk = None
          print(f"# {name} rep {rep} {el:.1f}s {time.strftime('%H:%M:%S')}", file=sys.stderr, flush=True)
          if bad or el > 15: break   # slow system: one repetition is enough
try: run()
except SystemExit: pass
if lk: lk.close()
shutil.rmtree(D, ignore_errors=True)
for n in R:
    c = CPU.get(n); print(f"{n} {statistics.median(R[n]):.6g} {U[n]} n={len(R[n])}" + (f" min={min(R[n]):.4g} max={max(R[n]):.4g}" if len(R[n]) > 1 else "") + (f" daemon_cpu_s={statistics.median(c):.2f}" if c and pids() else ""))
for p in pids():
    try:
        s = dict(l.split(":", 1) for l in open(f"/proc/{p}/status")); print(f"# pid {p} {s['Name'].strip()} VmRSS {s['VmRSS'].strip()} VmHWM {s['VmHWM'].strip()} cpu_total_s {cpu().get(p)}")
    except (OSError, KeyError): pass
