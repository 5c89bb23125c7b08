#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All pairs of operations on one name, on two sides of a cut network: what is there when they are
# joined again (conflicts/table.txt). Some 20 s.
. "$(dirname "$0")/lib.sh"
need_fuse
export KITH_BIN
rc=0
/usr/bin/python3 "$here/conflicts/table.py" "$work" "$@" || rc=$?
[ $rc != 77 ] || skip "network namespaces cannot be made here"
[ $rc = 0 ] || fail "see above"
pass
