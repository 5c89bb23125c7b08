#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The examples of the README: each command is run, one after the other, and what it prints is what
# stands there, but for numbers, names and times.
. "$(dirname "$0")/lib.sh"
need_fuse
place=$work/try
mkdir "$place"
end_all() {
    local status=$? name
    set +e
    for name in "$place"/{kith,dc}/node*/kithd.pid; do
        [ -f "$name" ] && kill -CONT "$(cat "$name")" 2>/dev/null
    done
    for name in a b ams fra; do
        mountpoint -q "$place/$name" && fusermount3 -uz "$place/$name"
    done
    for name in kith dc; do
        [ -d "$place/$name" ] && kithctl local down "$place/$name" >/dev/null
    done
    (exit $status) # for cleanup
    cleanup
}
trap end_all EXIT
# plain: what differs from one run to the next is left out
plain() {
    sed -E "s|$place|/srv/try|g; s/[^ ]+@[^ ]+-[0-9a-f]{8}/WRITER/g; s/[A-Za-z0-9._-]+@[A-Za-z0-9._-]+/WRITER/g
        s/[0-9]+/#/g; s/ +/ /g; s/ \$//"
}

sed -n '/^## Examples$/,/^## /s/^    //p' "$KITH_TOP/README.md" >"$work/told"
grep '^\$ ' "$work/told" | sed 's/^\$ //' >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 30 ] || fail "not the examples: $(cat "$work/told")"
while IFS= read -r line; do
    printf 'printf "%%s\\n" %q\n%s\n' "\$ $line" "$line"
done <"$work/commands" >"$work/run"
cd "$place"
# as a newcomer's shell is: nothing is named yet
env -u KITH_SERVERS -u KITH_CERT -u KITH_KEY -u KITH_CA -u KITH_CRL \
    timeout 120 bash "$work/run" >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"
cd "$work"
diff <(plain <"$work/told") <(plain <"$work/said") >"$work/diff" ||
    fail "what the README says (<) and what is printed (>): $(cat "$work/diff")"
pass
