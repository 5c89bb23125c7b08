# SPDX-License-Identifier: GPL-3.0-or-later
"""cases.py - what posix.py, contents.py and metadata.py share: cases on a mounted directory."""
import ctypes
import errno
import os
import shutil
import time
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, a.encode(), -100, b.encode(), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), a)


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def pattern(size, seed=1):
    word = (seed * 2654435761) & 0xFFFFFFFF
    out = bytearray()
    while len(out) < size:
        word = (word * 1664525 + 1013904223) & 0xFFFFFFFF
        out += word.to_bytes(4, "little")
    return bytes(out[:size])


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def fails(code, call, *args, **named):
    try:
        call(*args, **named)
    except OSError as error:
        want = code if isinstance(code, tuple) else (code,)
        assert error.errno in want, f"{error!r} instead of {[errno.errorcode[c] for c in want]}"
        return
    raise AssertionError(f"{call.__name__}{args} went well instead of {code}")


def run(top, chosen, cases):
    passed, failed = 0, 0
    for name, case in list(cases.items()):
        if not name.startswith("case_") or (chosen and name[5:] not in chosen):
            continue
        d = os.path.join(top, name[5:])
        shutil.rmtree(d, ignore_errors=True)
        os.mkdir(d)
        start = time.monotonic()
        try:
            case(d)
            conflicts = [n for _, ds, fs in os.walk(d) for n in ds + fs if ".conflict-" in n]
            assert not conflicts, conflicts
            passed += 1
            print(f"ok   {name[5:]} {time.monotonic() - start:.2f} s", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name[5:]}\n{traceback.format_exc()}", flush=True)
        shutil.rmtree(d, ignore_errors=True)
        if os.path.exists(d):
            print(f"FAIL {name[5:]}: {d} cannot be removed", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
