#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A node that was away has, soon after it has come back, what was written meanwhile: the owners compare
# their hash trees, and nobody needs to read it. Then the others end, and it answers from what it has.
. "$(dirname "$0")/lib.sh"

# All nodes have so many rows, each by itself.
all_have() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
rows = [node["rows"] for node in json.load(sys.stdin)["nodes"]]
sys.exit(rows != [int(sys.argv[1])] * 3 and str(rows))' "$1"
}
put() {
    kv put "$1" "$2" >/dev/null || fail "put $1"
}

say "written while a node is away"
cluster_up 3
nodes_up
for i in $(seq 20); do put "changed$i" old; done
put deleted old
node_kill 3
for i in $(seq 20); do
    put "changed$i" new
    put "made$i" new
done
kv delete deleted || fail "delete"
cluster_up 3
nodes_up
wait_for 30 "the rows to come" all_have 41
wait_for 30 "what came to be told" grep -q "rows were missing or behind" "$dir/node3.log"

say "it has them, with the other nodes gone"
node_kill 1
node_kill 2
for i in $(seq 20); do
    for key in changed$i made$i; do
        got=$(kv get "$key" 2>"$work/get.err") || fail "get $key: $(cat "$work/get.err")"
        [ "$got" = new ] || fail "$key is '$got'"
    done
done
! kv get deleted >"$work/deleted" 2>&1 || fail "deleted and there: $(cat "$work/deleted")"
pass
