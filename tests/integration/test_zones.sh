#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two data centres of three nodes each, and a mount in both that reads and writes by local quorums.
# What is written crosses from one to the other once, for all three owners there. Then they are cut
# apart: what a mount does takes as long as before, in either of them; afterwards both have all that
# was done in both. Some 40 s.
. "$(dirname "$0")/lib.sh"
need_fuse
export KITH_BIN
rc=0
/usr/bin/python3 "$here/faults/zones.py" "$work" "$@" || rc=$?
[ $rc != 77 ] || skip "network namespaces cannot be made here"
[ $rc = 0 ] || fail "see above"
pass
