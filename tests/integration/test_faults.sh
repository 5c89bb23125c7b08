#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Real faults under load: nodes killed, frozen, cut off, upgraded, with an old, full or broken disk.
# Some 100 s; with KITH_LONG=1 some 12 minutes.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
export KITH_BIN
rc=0
/usr/bin/python3 "$here/faults/faults.py" "$work" "$@" || rc=$?
[ $rc != 77 ] || skip "network namespaces cannot be made here"
[ $rc = 0 ] || fail "see above"
pass
