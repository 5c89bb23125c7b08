#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The manual page of kithfs: well formed, with each option that there is and no other, and with the
# table of concurrent changes as it is tested (conflicts/table.txt).
. "$(dirname "$0")/lib.sh"
page=$KITH_TOP/packaging/man/kithfs.1

command -v mandoc >/dev/null || skip "mandoc is not installed"
mandoc -Tlint -W warning "$page" >"$work/lint" 2>&1 || fail "$(cat "$work/lint")"

kithfs --help | grep -oE '(^  |  )-o [a-z_,]+' | grep -oE '[a-z_]+(,[a-z_]+)?$' | cut -d, -f1 | sort -u >"$work/help"
[ "$(wc -l <"$work/help")" -gt 20 ] || fail "not the options: $(cat "$work/help")"
sed -n '/^\.Sh OPTIONS/,/^\.Sh CONFLICTS/s/^\.It Cm \([a-z_]*\).*/\1/p' "$page" | sort >"$work/page"
diff "$work/help" "$work/page" >"$work/diff" || fail "options in --help (<) and in the page (>): $(cat "$work/diff")"
[ -z "$(uniq -d "$work/page")" ] || fail "twice: $(uniq -d "$work/page")"

grep -v '^#' "$here/conflicts/table.txt" >"$work/tested"
sed -n '/^\.Bd -literal -offset indent/,/^\.Ed/p' "$page" | grep -E '^[a-z]+ [a-z]+:' >"$work/told"
[ "$(wc -l <"$work/told")" = 121 ] || fail "$(wc -l <"$work/told") lines in the table"
diff "$work/tested" "$work/told" >"$work/diff" || fail "tested (<) and told (>): $(cat "$work/diff")"
pass
