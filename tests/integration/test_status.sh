#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithctl status and ring: what they say, and its exit status of the first, with nodes down, hung, and gone.
. "$(dirname "$0")/lib.sh"

# status_is STATUS: and what it says is in $work/status and, as JSON, in $work/json
status_is() {
    local rc=0
    kv status >"$work/status" || rc=$?
    [ $rc = "$1" ] || fail "status gave $rc, not $1: $(cat "$work/status")"
    rc=0
    kv status --json >"$work/json" || rc=$?
    [ $rc = "$1" ] || fail "status --json gave $rc, not $1: $(cat "$work/json")"
}
says() {
    grep -q -- "$1" "$work/status" || fail "no '$1' in: $(cat "$work/status")"
}
# value EXPRESSION: of the JSON, as s
value() {
    /usr/bin/python3 -c 'import json, sys
s = json.load(open(sys.argv[1]))
nodes = s["nodes"]
if not eval(sys.argv[2]): sys.exit(1)' "$work/json" "$1" || fail "not $1: $(cat "$work/json")"
}

cluster_up 3
for i in $(seq 20); do
    kv put "key$i" "value$i"
done
say "all up"
nodes_up
status_is 0
says 'health: healthy$'
says '^3 of 3 nodes up. Every file can be read and written.$'
[ "$(grep -c '^UP .* 33[.]3% .* now ' "$work/status")" = 3 ] ||
    fail "$(cat "$work/status")"
value 's["health"] == "healthy" and s["nodes_up"] == 3 and s["partitions_thin"] == 0'
value 'all(n["rows"] >= 1 and n["agrees"] and n["does_not_hear"] == [] for n in nodes)'
value 'all(n["pairs"] == 2048 and n["hints"] == 0 for n in nodes)'
compared() {
    kv status | grep -q 'Last full exchange [0-9nowsm ]*ago\|Last full exchange now'
}
wait_for 60 "all copies to be compared" compared
! grep -q $'\033' "$work/status" || fail "colours in a file"

say "the ring"
kv ring >"$work/status"
says 'balance 1[.]000$'
[ "$(grep -c '^UP .* 1 024 ' "$work/status")" = 3 ] || fail "$(cat "$work/status")"
says '  1 *1 024 *0-1023$'
says '^All partitions have all their owners up.$'
kv ring --key key1 >"$work/status"
says '^Key key1   partition [0-9]* of 1024 '
says '^3 of 3 owners up: it can be read and written.$'
kv ring --json >"$work/json"
value 'len(s["partitions"]) == 1024 and all(p["writable"] for p in s["partitions"])'
rc=0
kv ring --partition 1024 2>"$work/err" || rc=$?
[ $rc = 1 ] || fail "a partition that is not there gave $rc"
grep -q "'1024' is no number from 0 to 1023" "$work/err" || fail "$(cat "$work/err")"
rc=0
kv ring --partition 1 --key a 2>"$work/err" || rc=$?
[ $rc = 64 ] || fail "--partition with --key gave $rc"

say "one of three is down"
node_kill 2
address=$(cat "$dir/node2/address")
status_is 1
says 'health: DEGRADED$'
says '^2 of 3 nodes up. Every file can be read and written.$'
says "^Down: $address: connection refused. Start kithd there again.$"
value 's["health"] == "degraded" and s["partitions_thin"] == 1024'
kv ring >"$work/status"
says '^not all owners up  *1024 of 1024 partitions: 0-1023$'
says '^fewer than R owners up  *0 of 1024 partitions$'
value '[n for n in nodes if n["state"] == "down"][0]["error"].endswith("connection refused")'

say "and another one hangs"
kill -STOP "$(node_pid 3)"
start=$SECONDS
status_is 2
[ $((SECONDS - start)) -lt 10 ] || fail "took $((SECONDS - start)) s"
says 'health: BELOW QUORUM$'
says '^1 of 3 nodes up.$'
says '^1024 of 1024 partitions (100.0% of the files) have fewer than 2 owners up: '
says "^Not answering: $(cat "$dir/node3/address"): no answer"
value 's["partitions_unreadable"] == 1024 and s["partitions_ownerless"] == 0'
kill -CONT "$(node_pid 3)"

say "all are down"
node_kill 1
node_kill 3
rc=0
kv status >"$work/status" 2>"$work/err" || rc=$?
[ $rc = 3 ] || fail "status of no node gave $rc, not 3"
grep -q 'no node answered.*is kithd running there' "$work/err" || fail "$(cat "$work/err")"

say "again and again"
kithctl status --watch --servers "$servers" >"$work/watch" 2>"$work/err" &
watching=$!
echo $watching >"$work/watch.pid"
wait_for 10 "a look that finds nobody" grep -q 'no node answered' "$work/err"
cluster_up 3
wait_for 20 "a look that finds all well" grep -q 'health: healthy' "$work/watch"
kill -0 $watching || fail "--watch has ended"
kill $watching
rm "$work/watch.pid"

pass
