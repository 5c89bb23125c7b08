#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Files that two sides of a cut network have made under one name, and kept open: who writes on, in one
# that is not the name's any more, has it stored beside the other, and is refused nothing, whatever is
# done to the two names meanwhile. Some 30 s.
. "$(dirname "$0")/lib.sh"
need_fuse
export KITH_BIN
rc=0
/usr/bin/python3 "$here/conflicts/open.py" "$work" || rc=$?
[ $rc != 77 ] || skip "network namespaces cannot be made here"
[ $rc = 0 ] || fail "see above"
pass
