#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# EINTR is for who wants to end: a timer's signal breaks no program, a killed one goes at once.
. "$(dirname "$0")/lib.sh"

fake_up
"$here/interrupt.py" "$mnt" || fail "signals"
fake_down
pass
