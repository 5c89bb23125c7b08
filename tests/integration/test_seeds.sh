#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Any node can be a seed; and a node that starts again with its seed gone, while others have moved
# and it has moved itself, finds them, and they find it.
. "$(dirname "$0")/lib.sh"

# start N [OPTION...]: on a port that is free
start() {
    local n=$1
    shift
    rm -f "$work/$n/address"
    kithd --insecure --data "$work/$n" --listen 127.0.0.1:0 --log "$work/$n.log" "$@" &
    echo $! >"$work/$n.pid"
    wait_for 20 "node $n to listen" test -s "$work/$n/address"
}
address() {
    cat "$work/$1/address"
}
stop() {
    local pid
    pid=$(cat "$work/$1.pid")
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    rm "$work/$1.pid"
}
# sees N WHO...: asked alone, node N names these as up, and all of them say that they hear each other
sees() {
    local n=$1
    shift
    # it exits 1 where a node is down
    { kithctl status --json --servers "$(address "$n")" || true; } | /usr/bin/python3 -c '
import json, sys
up = {node["address"]: node["does_not_hear"] for node in json.load(sys.stdin)["nodes"]
      if node["state"] == "up"}
heard = not any(set(deaf) & set(up) for deaf in up.values())
sys.exit(set(up) != set(sys.argv[1:]) or not heard)' "$@"
}
all_see() {
    local n addresses=()
    for n in "$@"; do
        addresses+=("$(address "$n")")
    done
    for n in "$@"; do
        sees "$n" "${addresses[@]}" || return 1
    done
}

start n1
made() { # until then it is starting
    kithctl init "$(address n1)" >"$work/init.log" 2>&1
}
wait_for 20 "a first node" made
start n2 --join "$(address n1)"
wait_for 20 "two to be one cluster" all_see n1 n2
start n3 --join "$(address n2)"
wait_for 20 "three to be one cluster" all_see n1 n2 n3
start n4 --join "$(address n3)"
wait_for 20 "four to be one cluster" all_see n1 n2 n3 n4
say "each joined through another one"

gone=$(address n3)
stop n4
stop n3
stop n2
began=$(date +%s%N)
start n2
start n4 --join "$gone"
[ "$(address n4)" != "$gone" ] || fail "the port is taken again"
wait_for 30 "node 4 to find the others, and they it" all_see n1 n2 n4
say "found with the seed gone and two moved: $((($(date +%s%N) - began) / 1000000)) ms"

began=$(date +%s%N)
start n3
wait_for 30 "node 3 to be back, elsewhere" all_see n1 n2 n3 n4
say "the seed is back, elsewhere: $((($(date +%s%N) - began) / 1000000)) ms"

# all at once, and only one of them where it was
for n in n1 n2 n3 n4; do
    stop $n
done
began=$(date +%s%N)
start n2
start n3 --join "$gone"
start n4 --join "$gone"
kithd --insecure --data "$work/n1" --listen "$(address n1)" --log "$work/n1.log" &
echo $! >"$work/n1.pid"
wait_for 30 "all to find each other again" all_see n1 n2 n3 n4
say "all started again, three of them moved: $((($(date +%s%N) - began) / 1000000)) ms"
for n in n1 n2 n3 n4; do
    stop $n
done
pass
