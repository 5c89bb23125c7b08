#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A page of the rows' or the chunks' file is damaged on a node's disk: while it is stopped, or under a
# running node, or so that not even its log can be recovered. The node comes up by itself, answers no
# read before what it held has come back from the others, and has it all then, by itself.
. "$(dirname "$0")/lib.sh"

keys=300
damage() { # FILE [EVERY]: bytes in the midst of each page, or of each so many KiB
    /usr/bin/python3 -c 'import os, sys
with open(sys.argv[1], "r+b") as file:
    size = os.fstat(file.fileno()).st_size
    for at in range(4096 + 2000, size, int(sys.argv[2]) << 10):
        file.seek(at)
        old = file.read(8)
        file.seek(at)
        file.write(bytes(byte ^ 0x5a for byte in old))
    sys.exit(size < 12000 and "too small a file")' "$1" "${2:-4}"
}
# whole ROWS: all nodes have so many rows, and none waits for any
whole() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
nodes = json.load(sys.stdin)["nodes"]
sys.exit(any(n["rows"] != int(sys.argv[1]) or n["refill_left"] != 0 for n in nodes))' "$1"
}
chunks_are() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
chunks = [n["chunks"] for n in json.load(sys.stdin)["nodes"]]
sys.exit(len(set(chunks)) != 1 or chunks[0] == 0)'
}
# all_there N: with node N alone, which answers from what it has
all_there() {
    local n i
    for n in 1 2 3; do
        [ "$n" = "$1" ] || node_kill "$n"
    done
    for i in $(seq "$keys"); do
        [ "$(kv get "key$i" 2>"$work/get.err")" = "value $i" ] ||
            fail "key$i, of node $1 alone: $(cat "$work/get.err")"
    done
    ! kv get deleted >"$work/deleted" 2>&1 || fail "deleted and there: $(cat "$work/deleted")"
}
# reads_true: whatever is read while a node refills is right
reads_true() {
    local i
    for i in $(seq 1 7 "$keys"); do
        [ "$(kv get "key$i" 2>"$work/get.err")" = "value $i" ] ||
            fail "key$i is '$(kv get "key$i" 2>&1)': $(cat "$work/get.err")"
    done
}

say "filled"
cluster_up 3
nodes_up
for i in $(seq "$keys"); do echo "key$i value $i"; done |
    while read -r key value; do kv put "$key" "$value" >/dev/null || exit 1; done || fail "put"
kv put deleted old >/dev/null
kv delete deleted || fail "delete"


rows=$(kv status --json | /usr/bin/python3 -c 'import json, sys
print(json.load(sys.stdin)["nodes"][0]["rows"])')
wait_for 30 "all to be everywhere" whole "$rows"

say "the rows of a stopped node"
cluster_down
damage "$dir/node3/wt/rows.wt"
cluster_up 3
reads_true
grep -q "rows.wt: damaged, and set aside" "$dir/node3.log" || fail "not told"
ls "$dir"/node3/damaged/*rows.wt >/dev/null || fail "not kept"
wait_for 60 "node 3 to be whole" whole "$rows"
nodes_up
all_there 3
cluster_up 3
nodes_up

say "a page that a running node reads, now and then"
cluster_down
damage "$dir/node2/wt/rows.wt" 64
cluster_up 3
pid=$(node_pid 2)
reads_true
kv scrub >/dev/null 2>&1 || true # a read may have met it already
wait_for 60 "node 2 to end" gone "$pid"
grep -q "start kithd again: it sets the damaged file aside" "$dir/node2.log" || fail "not told what helps"
reads_true
cluster_up 3
reads_true
wait_for 60 "node 2 to be whole" whole "$rows"
nodes_up
all_there 2
cluster_up 3
nodes_up

say "a page that the log of a killed node changes"
for i in $(seq "$keys"); do kv put "late$i" "late $i" >/dev/null || fail "put late$i"; done
node_kill 1
damage "$dir/node1/wt/rows.wt"
damage "$dir/node1/wt/meta.wt"
cluster_up 3
reads_true
grep -q "set aside in $dir/node1/damaged" "$dir/node1.log" || fail "not told"
wait_for 60 "node 1 to be whole" whole $((rows + keys))
nodes_up
all_there 1
for i in $(seq "$keys"); do
    [ "$(kv get "late$i")" = "late $i" ] || fail "late$i is gone"
done
cluster_up 3
nodes_up

say "no store at all, but for who it is"
node_kill 3
rm -r "$dir/node3/wt" "$dir/node3/chunks"
cluster_up 3
reads_true
wait_for 60 "node 3 to be whole" whole $((rows + keys))
nodes_up
all_there 3
cluster_up 3
nodes_up

if [ "$(id -u)" = 0 ] && [ -w /dev/fuse ]; then
    say "the index of chunks, and the rows that name them"
    mount_up
    head -c 10M /dev/urandom >"$mnt/file"
    for i in $(seq 40); do head -c 20000 /dev/urandom >"$mnt/small$i"; done
    sync "$mnt"/*
    sum=$(cat "$mnt"/* | sha256sum)
    mount_down
    wait_for 60 "the chunks to be everywhere" chunks_are
    cluster_down
    damage "$dir/node3/wt/chunks.wt"
    damage "$dir/node2/wt/refs.wt"
    cluster_up 3
    wait_for 60 "node 3 to have its chunks again" chunks_are
    nodes_up
    ls "$dir"/node3/damaged/*.seg >/dev/null || fail "the contents are not kept"
    node_kill 1
    node_kill 2
    mount_up "$other"
    [ "$(cat "$other"/* | sha256sum)" = "$sum" ] || fail "other contents"
    mount_down "$other"
fi
pass
