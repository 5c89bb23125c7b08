#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Nodes come and go while a mount writes: what a plan says before it is applied, and that everything
# is there afterwards. A node joins a cluster that holds data, gets another weight, one leaves and is
# stopped, one whose disk is lost is replaced, a move is given up in the middle; then most nodes are
# lost for good.
. "$(dirname "$0")/lib.sh"
need_fuse

# Nodes of one's own, beside those of `kithctl local`. extra_up N [OPTION...]: starts node N under
# $work/extraN; sets address[N] and pid[N]
declare -A address pid
extra_up() {
    address[$1]=${address[$1]:-127.0.0.1:$(free_port)}
    mkdir -p "$work/extra$1"
    kithd --insecure --data "$work/extra$1" --listen "${address[$1]}" --log "$work/extra$1.log" --cache 64M \
        "${@:2}" &
    pid[$1]=$!
    echo $! >"$work/extra$1.pid"
    wait_for 20 "node $1 to answer" answers "${address[$1]}"
}
answers() {
    local rc=0
    kithctl status --servers "$1" --timeout 1s >"$work/out" 2>&1 || rc=$?
    [ $rc != 3 ] || grep -q 'has no cluster' "$work/out"
}
free_port() {
    /usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
extra_kill() {
    kill -KILL "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
    rm -f "$work/extra$1.pid"
}
# refused WORDS COMMAND...: it fails, and says these words
refused() {
    ! "${@:2}" >"$work/out" 2>&1 || fail "not refused: ${*:2}"
    grep -q -- "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"
}
says() {
    grep -q -- "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"
}
# value EXPRESSION: of the JSON of `kithctl status`, as s, with its nodes
value() {
    kv status --json >"$work/json" || true
    /usr/bin/python3 -c 'import json, sys
s = json.load(open(sys.argv[1]))
nodes = s["nodes"]
sys.exit(not eval(sys.argv[2]))' "$work/json" "$1"
}
version() {
    kv status --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["table"])'
}
# is_left_out ADDRESS: the plan takes it for gone, as all do who are up
is_left_out() {
    kv plan show >"$work/out" && grep -q 'is down and left out for good' "$work/out"
}
# name_of ADDRESS: as status shows it
name_of() {
    kv status | awk -v a="$1" '$3 == a { print $2 }'
}

# ---- What is written meanwhile ----

writer() {
    local i=0
    while [ ! -e "$work/stop" ]; do
        i=$((i + 1))
        printf 'line %d\n' $i >"$mnt/live/$((i % 40))" || echo "write $i failed" >>"$work/failed"
        printf 'line %d\n' $i >"$work/same/live/$((i % 40))"
        [ $((i % 7)) != 0 ] || {
            mv "$mnt/live/$((i % 40))" "$mnt/live/m$((i % 40))" &&
                mv "$work/same/live/$((i % 40))" "$work/same/live/m$((i % 40))"
        } || echo "rename $i failed" >>"$work/failed"
        head -c 200000 /dev/urandom >"$work/block"
        cp "$work/block" "$mnt/live/block$((i % 10))" || echo "copy $i failed" >>"$work/failed"
        cp "$work/block" "$work/same/live/block$((i % 10))"
    done
}
writer_up() {
    rm -f "$work/stop"
    writer 2>>"$work/writer.log" &
    writer_pid=$!
}
writer_down() {
    touch "$work/stop"
    wait "$writer_pid"
    [ ! -e "$work/failed" ] || fail "meanwhile: $(cat "$work/failed" "$work/writer.log")"
}
# everything_there: by a mount that knows nothing yet, and by the key-value door
everything_there() {
    local i
    sync -f "$mnt"
    diff -r "$work/same" "$mnt" >"$work/out" || fail "not as written: $(head -n 5 "$work/out")"
    mount_up "$work/mnt2"
    diff -r "$work/same" "$work/mnt2" >"$work/out" || fail "another mount: $(head -n 5 "$work/out")"
    mount_down "$work/mnt2"
    for i in $(seq 40); do
        [ "$(kv get "key$i")" = "value $i" ] || fail "key$i is $(kv get "key$i")"
    done
    [ -z "$(find "$mnt" -name '*.conflict-*')" ] || fail "conflicts: $(find "$mnt" -name '*.conflict-*')"
}
# settled: no move, and the table stays what it is
settled() {
    local before
    value 'not s["moving"] and s["health"] == "healthy"' || fail "not settled: $(cat "$work/json")"
    before=$(version)
    kv plan show >"$work/out"
    says 'nothing is staged, and nothing moves'
    [ "$(version)" = "$before" ] || fail "the table changes by itself"
}

cluster_up 3
nodes_up
mount_up
mkdir "$mnt/live" "$work/same" "$work/same/live"
for i in $(seq 40); do
    kv put "key$i" "value $i"
done
for i in $(seq 60); do
    head -c 100000 /dev/urandom >"$work/same/file$i"
    cp "$work/same/file$i" "$mnt/file$i"
done
sync -f "$mnt"
writer_up

say "what is staged, and what is refused"
refused 'nothing is staged' kv plan apply
refused "no node 'nobody'; there are " kv plan leave nobody
refused 'is kithd running there' kv plan join 127.0.0.1:1
refused 'is a member of this cluster already' kv plan join "$(cat "$dir/node1/address")"
refused 'a weight is a number' kv plan weight "$(cat "$dir/node1/address")" 0
extra_up 4
kv plan join "${address[4]}" --zone fra >"$work/out"
says '^Staged: + node [0-9a-f]* at .* (zone fra, weight 1)$'
kv plan weight "${address[4]}" 2 >/dev/null # a word about what is staged
kv plan show >"$work/out"
says '^table v3 -> v4   + node [0-9a-f]* at .* (zone fra, weight 2)$'
says '  0 -> 1024  '
says '^Moves 1024 of 3072 replicas (the least possible: 1024). Less than a minute at 50 MiB/s a node.$'
says '^Meanwhile every partition keeps 3 owners in 1 zone; afterwards it has 3 owners in 2 zones.$'
refused 'the next table is v4 by now, not v9' kv plan apply 9
kv plan drop >"$work/out"
says '^Forgotten.$'
kv plan show | grep -q 'nothing is staged' || fail "it is not forgotten"

say "two stage at the same time: both count"
node1=$(name_of "$(cat "$dir/node1/address")")
kv plan weight "${node1:0:7}" 2 >/dev/null & # by the beginning of its name
first=$!
kv plan join "${address[4]}" --zone fra >/dev/null || fail "the second one is refused"
wait $first || fail "the first one is refused"
kv plan show >"$work/out" 2>&1
says '+ node '
says 'weight 1 -> 2'
kv plan drop "$node1" >/dev/null

say "a node joins a cluster that holds data"
kv plan apply 4 >"$work/out"
says '^Table v4 is in use and moves 1024 replicas'
# goes on with it, where it has not ended yet
kv plan apply --wait >"$work/out" 2>&1 || says 'nothing is staged'
servers=$servers,${address[4]}
writer_down
settled
value 'len(nodes) == 4 and all(n["partitions"] >= 682 for n in nodes)' || fail "$(cat "$work/json")"
everything_there

say "another weight"
writer_up
kv plan zone "${address[4]}" - >/dev/null
kv plan weight "${address[4]}" 3 >/dev/null
kv plan show >"$work/out"
says 'zone fra -> -$'
says 'weight 1 -> 3$'
kv plan zone "${address[4]}" fra >/dev/null # stays as it is
kv plan drop "${address[4]}" >/dev/null
kv plan weight "$node1" 5 >/dev/null
kv plan apply --wait >"$work/out"
writer_down
settled
owned=$(kv ring | awk -v n="$node1" '$2 == n { print $6 $7 }')
case $owned in
10*) ;; # two zones: no more than one copy of each is due to a node
*) fail "node1 owns $owned partitions: $(kv ring)" ;;
esac
everything_there

say "a node leaves, and is stopped"
writer_up
second=$(cat "$dir/node2/address")
kv plan leave "$second" >/dev/null
kv plan show >"$work/out"
says "^table v7 -> v8   - node [0-9a-f]* at $second$"
kv plan apply --wait --json >"$work/json"
/usr/bin/python3 -c 'import json, sys; a = json.load(open(sys.argv[1]))
sys.exit(not (a["settled"] and a["table_now"] == 9))' "$work/json" || fail "$(cat "$work/json")"
wait_for 20 "the node to say that it is no member" \
    grep -q 'no member of cluster local any more .*kithctl plan join' "$dir/node2.log"
kithctl status --servers "$second" >"$work/out" || true
says "at $second is no member of this cluster any more: it left, or was replaced. Stop kithd there"
value "[s['address'] for s in s['former_members']] == ['$second']" || fail "$(cat "$work/json")"
node_kill 2
servers=$(cat "$dir/node1/address"),$(cat "$dir/node3/address"),${address[4]}
writer_down
settled
value 'len(nodes) == 3 and all(n["partitions"] == 1024 for n in nodes)' || fail "$(cat "$work/json")"
everything_there
refused 'is kithd running there' kv plan join "$second"

say "a node is killed, its disk is lost: another one takes its place"
writer_up
third=$(cat "$dir/node3/address")
node_kill 3
rm -rf "$dir/node3/data"
extra_up 5
servers=$(cat "$dir/node1/address"),${address[4]}
kv plan replace "$third" "${address[5]}" >/dev/null
wait_for 20 "the others to take it for dead" is_left_out "$third"
says '^table v9 -> v10   - node [0-9a-f]* at .*, + node [0-9a-f]* at .* in its place$'
says '^Moves 1024 of 3072 replicas (the least possible: 1024)'
says 'is down and left out for good'
kv plan apply --wait >"$work/out" 2>&1
servers=$servers,${address[5]}
writer_down
settled
value 'len(nodes) == 3 and s["nodes_up"] == 3' || fail "$(cat "$work/json")"
everything_there

say "a move is given up in the middle"
writer_up
extra_up 6 --repair-rate 20K # so that it does not end
kv plan join "${address[6]}" >/dev/null
kv plan apply >"$work/out"
moving() {
    value 's["moving"] and any(n["move"]["joins"] and n["state"] == "up" for n in nodes)'
}
wait_for 20 "the new node to join" moving
kv plan show >"$work/out"
says '^table v12 moves data   '
says '  joins, [0-9]* of 512 '
says '^Waits for '
kv ring >"$work/out"
says '^These are the owners until all that moves is there: '
refused 'moves data; the next change comes after it' kv plan apply
kv plan revert >"$work/out"
says '^The move is given up: table v13 has the owners of before.$'
says 'is no member any more'
refused 'there is nothing to give up' kv plan revert
extra_kill 6
nodes_up
writer_down
settled
value 'len(nodes) == 3' || fail "$(cat "$work/json")"
everything_there

say "most nodes are lost for good, in the middle of a move"
sync -f "$mnt"
mount_down
extra_up 7 --repair-rate 20K
kv plan join "${address[7]}" >/dev/null
kv plan apply >/dev/null
wait_for 20 "the new node to join" moving
extra_kill 7
extra_kill 5
extra_kill 4
rm -rf "$work/extra4" "$work/extra5" "$work/extra7"
servers=$(cat "$dir/node1/address")
refused 'needs 3 of 4 members to agree' kv plan revert --timeout 30s
kv plan revert --force >"$work/out"
says '^The move is given up: table v15 has the owners of before.$'
kv plan leave "${address[4]}" >/dev/null
refused '1 of 3 nodes are up: too few to agree on a table' kv plan apply
kv plan show --force >"$work/out" 2>&1
says ': it is down$'
says '--force --accept-loss$'
refused 'keep fewer than 2 of their 3 owners' kv plan apply --force
kv plan apply --force --accept-loss --wait >"$work/out" 2>&1
value 'len(nodes) == 1 and not s["moving"] and s["health"] == "healthy"' || fail "$(cat "$work/json")"
mount_up
everything_there
mount_down
cluster_down
pass
