#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithctl explain: what each owner holds, of a key and of a path.
. "$(dirname "$0")/lib.sh"

# explains STATUS ARG...: the text is in $work/text, the JSON in $work/json
explains() {
    local want=$1 rc=0
    shift
    kithctl explain "$@" >"$work/text" 2>"$work/err" || rc=$?
    [ $rc = "$want" ] || fail "explain $* gave $rc, not $want: $(cat "$work/text" "$work/err")"
    rc=0
    kithctl explain "$@" --json >"$work/json" 2>/dev/null || rc=$?
    [ $rc = "$want" ] || fail "explain $* --json gave $rc, not $want"
}
says() {
    grep -q -- "$1" "$work/text" || fail "no '$1' in: $(cat "$work/text")"
}
# value EXPRESSION: of the JSON; row: the first one, states: its owners'
value() {
    /usr/bin/python3 -c 'import json, sys
s = json.load(open(sys.argv[1]))
row = s["rows"][0]
states = sorted(owner["state"] for owner in row["owners"])
if not eval(sys.argv[2]): sys.exit(1)' "$work/json" "$1"
}
holds() {
    value "$1" || fail "not $1: $(cat "$work/json")"
}

cluster_up 3
at=(--servers "$servers")
say "a key"
kv put greeting hello
explains 0 greeting "${at[@]}"
says '^Key greeting   table v3   N=3 R=2 W=2$'
says '^Row "greeting" (key) of group ffffffff.* partition [0-9]* of 1024$'
says ' 5 B  *value  3 of 3 '
says '^All 3 of 3 owners hold the same.$'
holds 'states == ["whole"] * 3 and row["agree"] and row["versions"][0]["owners"] == 3'
compared() {
    explains 0 greeting "${at[@]}"
    value 'all(len(o["compared"]) == 2 and None not in [c["rows_ms_ago"] for c in o["compared"]]
               for o in row["owners"])'
}
wait_for 120 "the owners to have compared what they have" compared
holds 'len({owner["hash"] for owner in row["owners"]}) == 1'
explains 5 nothing "${at[@]}"
says 'never written, as far as the 3 owners that answered know'
explains 5 /slash --key "${at[@]}"
holds 's["key"] == "/slash"'

say "a node that missed something"
node_kill 3
kv put --blind greeting hallo
explains 0 greeting "${at[@]}"
says '^No answer: .*connection refused. See: kithctl status$'
says '^2 of 3 owners hold the same: several versions'
holds 'states == ["no answer", "whole", "whole"] and len(row["versions"]) == 2'
cluster_up 3
all_whole() {
    explains 0 greeting "${at[@]}"
    value 'states == ["whole"] * 3 and len(row["versions"]) == 2'
}
wait_for 60 "the third to have both versions" all_whole
kv delete greeting
explains 0 greeting "${at[@]}"
says '^All 3 of 3 owners hold the same: it was deleted.$'
holds 'states == ["deleted"] * 3'

need_fuse
say "a path"
mount_up
mkdir -p "$mnt/a/b"
echo text >"$mnt/a/b/file"
sync "$mnt/a/b/file"
explains 0 "$mnt/a/b/file" # by the servers of the mount
says '^Path /a/b/file   table'
says '^Row "file" (entry) of group 00000001'
holds 's["path"] == "/a/b/file" and row["agree"]'
explains 0 /a/b/file "${at[@]}"
holds 's["path"] == "/a/b/file"'
(cd "$mnt/a" && explains 0 ./b/../b/file)
holds 's["path"] == "/a/b/file"'
(cd "$mnt/a" && explains 5 b/file "${at[@]}")
grep -q "'b/file' was taken for a key; for the file: kithctl explain ./b/file" "$work/err" || fail "$(cat "$work/err")"
(cd "$mnt/a" && explains 5 b/file --key "${at[@]}")
[ ! -s "$work/err" ] || fail "with --key it says: $(cat "$work/err")"
ln "$mnt/a/b/file" "$mnt/a/b/other"
explains 0 "$mnt/a/b/other"
says '(shared inode) of group'
ln "$mnt/a/b/file" "$mnt/a/elsewhere" # its row has a group of its own from here on
explains 0 "$mnt/a/elsewhere"
says '^Row "" (shared inode) of group'
explains 0 "$mnt"
says '^Row "" (root directory)'
explains 5 "$mnt/a/nothing"
explains 1 "$mnt/a/none/file"
grep -q '/a/none: no such file' "$work/err" || fail "$(cat "$work/err")"
explains 1 "$mnt/a/b/file/x"
grep -q '/a/b/file: no directory' "$work/err" || fail "$(cat "$work/err")"
(cd / && explains 64 ./tmp)
grep -q 'lies in no mounted kithfs' "$work/err" || fail "$(cat "$work/err")"
mount_down
pass
