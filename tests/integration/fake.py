# SPDX-License-Identifier: GPL-3.0-or-later
"""fake.py - what fake_up (lib.sh) has started, for programs that work in its mount: fs_fake.c says
which lines it takes. Where it takes them and where its answers stand is in the environment:
KITH_FAKE=LINES:LOG."""
import os
import time

BOUND_S = 30  # of each wait: a loaded machine takes far less


def wait_for(what, condition):
    """Until it holds; gives what the condition gave."""
    end = time.monotonic() + BOUND_S
    while not (result := condition()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.001)
    return result


class Fake:
    def __init__(self):
        self.lines, self.log = os.environ["KITH_FAKE"].split(":")

    def told(self, word):
        with open(self.log) as f:
            return [line.split() for line in f if line.startswith(word) and line.endswith("\n")]

    def say(self, line, word):
        """Says it, and gives the answer, which begins with the word."""
        before = len(self.told(word))
        with open(self.lines, "w") as f:
            f.write(line + "\n")
        return wait_for(f"{line} to be answered", lambda: self.told(word)[before:])[0]

    def files(self):
        """Rows of files in the cluster."""
        return int(self.say("rows", "rows")[1])
