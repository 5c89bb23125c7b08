# SPDX-License-Identifier: GPL-3.0-or-later
"""allowed_calls.py UNIT COMMAND... - runs the command with the system calls that a unit of systemd leaves
it (SystemCallFilter=), and no others: any other one kills it, by SIGSYS. Ends with 77 where the sets of
systemd, or libseccomp, are not here. For test_service.sh.
"""
import os
import subprocess
import sys

try:
    import seccomp
    told = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
except (ImportError, OSError):
    sys.exit(77)

sets, name = {}, None
for line in told.stdout.splitlines():
    word = line.strip()
    if line.startswith("@"):
        name = word
        sets[name] = []
    elif name and word and not word.startswith("#"):
        sets[name].append(word)


def members(word):
    if not word.startswith("@"):
        return {word}
    return set().union(*(members(inner) for inner in sets[word]))


allowed = set()
for line in open(sys.argv[1]):
    key, _, value = line.strip().partition("=")
    if key == "SystemCallFilter":
        calls = set().union(*(members(word) for word in value.removeprefix("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
if not 100 < len(allowed) < 400:
    sys.exit(f"{sys.argv[1]}: {len(allowed)} system calls are allowed: is SystemCallFilter= not as expected?")

rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
for call in allowed:
    try:
        rules.add_rule(seccomp.ALLOW, call)
    except (RuntimeError, ValueError):
        pass  # another architecture's
rules.load()
os.execvp(sys.argv[2], sys.argv[2:])
