#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A byte that a disk has changed is found by a scrub, though nobody reads the file; the chunk is set
# aside and comes from another owner. Then the others end, and the file is read from there.
. "$(dirname "$0")/lib.sh"
need_fuse

flip() { # FILE OFFSET
    /usr/bin/python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 16]))' "$1" "$2"
}
# scrub_ended FOUND: all nodes have read everything, and node 3 has found so many
scrub_ended() {
    kv scrub status --json | /usr/bin/python3 -c 'import json, sys
nodes = json.load(sys.stdin)["nodes"]
print(nodes)
sys.exit(any(n["scrub"]["running"] or n["scrub"]["last_ended_ms"] == 0 for n in nodes)
         or sum(n["found_damaged"] for n in nodes) != int(sys.argv[1]))' "$1"
}
# none_aside: what was damaged is back
none_aside() {
    kv repair status --json | /usr/bin/python3 -c 'import json, sys
nodes = json.load(sys.stdin)["nodes"]
sys.exit(sum(n["chunks_set_aside"] + n["rows_set_aside"] for n in nodes) != 0)'
}

say "a chunk is damaged on the disk of node 3"
cluster_up 3
nodes_up
mount_up
head -c 30M /dev/urandom >"$mnt/file"
for i in $(seq 50); do echo "$i" >"$mnt/small$i"; done
sync "$mnt"/*
sha256sum <"$mnt/file" >"$work/sum"
mount_down
segment=$(find "$dir/node3/chunks" -name '*.seg' -size +1M | sort | head -n 1)
[ -n "$segment" ] || fail "node 3 has no segment"
flip "$segment" 1500000
kv scrub >"$work/scrub" || fail "scrub: $(cat "$work/scrub")"
grep -q running "$work/scrub" || fail "no scrub is running: $(cat "$work/scrub")"
wait_for 60 "the scrub to find one" scrub_ended 1
grep -q "chunk .* does not fit its checksum; it is set aside" "$dir/node3.log" || fail "not told"
wait_for 60 "it to come back" none_aside
kv repair status >"$work/repair" || fail "repair status: $(cat "$work/repair")"
say "$(cat "$work/repair")"

say "the file is read from node 3 alone"
node_kill 1
node_kill 2
mount_up "$other"
sha256sum <"$other/file" | cmp - "$work/sum" || fail "other contents"
mount_down "$other"

say "a bound, and a stop"
cluster_up 3
nodes_up
kv repair limit 1M | grep -q 'Limit: 1.0 MiB/s a node' || fail "no limit: $(kv repair status)"
kv repair stop | grep -q stopped || fail "not stopped"
kv repair start >"$work/start" || fail "start: $(cat "$work/start")"
! grep -q stopped "$work/start" || fail "still stopped"
! kv repair limit 2X 2>"$work/wrong" || fail "2X was taken for a rate"
grep -q "2X" "$work/wrong" || fail "not said what is wrong: $(cat "$work/wrong")"

say "a scrub goes on after a start"
kv scrub stop | grep -q slow || fail "no slow one: $(kv scrub status)"
for n in 1 2 3; do
    node_kill $n
done
cluster_up 3
nodes_up
kv scrub status >"$work/scrub" || fail "scrub status: $(cat "$work/scrub")"
! grep -q never "$work/scrub" || fail "forgotten: $(cat "$work/scrub")"
node_kill 3
! kv scrub status 2>"$work/err" || fail "a member that is down was not told"
grep -q "did not answer" "$work/err" || fail "not said who: $(cat "$work/err")"
pass
