#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The disk of one node of four fills up, by other things that lie there: it says so, is left out of
# writes, which go on, and takes deletes; when there is room again it comes back by itself, and has
# what it missed.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, for a small disk"

# space_is WORD: of node 3, as kithctl status tells it
space_is() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
found = [node.get("space") for node in json.load(sys.stdin)["nodes"]
         if node["address"] == sys.argv[1]]
sys.exit(found != [sys.argv[2]] and str(found))' "$(cat "$dir/node3/address")" "$1"
}
# used PERCENT: fills, or empties, its disk to there
used() {
    local total free
    total=$(stat -f -c '%b * %S' "$dir/node3")
    rm -f "$dir/node3/filler"
    free=$(stat -f -c '%a * %S' "$dir/node3")
    fallocate -l $((free - total * (100 - $1) / 100)) "$dir/node3/filler"
}
# written PREFIX COUNT: keys of 1 KiB; none may be refused
written() {
    local i
    for i in $(seq "$2"); do
        kv put "$1$i" --file "$work/value" >/dev/null 2>"$work/err" ||
            fail "put $1$i: $(cat "$work/err")"
    done
}
# all_read PREFIX COUNT: they are what was written
all_read() {
    local i
    for i in $(seq "$2"); do
        kv get "$1$i" >"$work/got" 2>"$work/err" || fail "get $1$i: $(cat "$work/err")"
        cmp -s "$work/got" "$work/value" || fail "another value of $1$i"
    done
}

head -c 768 /dev/urandom | base64 -w 0 >"$work/value"

say "a node with a disk of 512 MiB"
mkdir -p "$dir/node3"
mount -t tmpfs -o size=512m tmpfs "$dir/node3" 2>/dev/null || skip "no tmpfs can be mounted"
echo "$dir/node3" >"$work/disk.mounted"
cluster_up 4 --cache 64M
nodes_up
space_is wide || fail "not wide: $(kv status)"
written before 20

say "it fills up"
used 87
wait_for 15 "it to be low" space_is low
used 96
wait_for 15 "it to be full" space_is full
kv status >"$work/status" || true
grep -q "deletes and repairs only" "$work/status" || fail "not told: $(cat "$work/status")"
written while 60
all_read while 60
for i in $(seq 20); do
    kv delete "before$i" >/dev/null || fail "delete before$i"
done
space_is full || fail "it is not full any more"

say "there is room again"
used 50
wait_for 15 "it to be wide" space_is wide
written after 20
kv repair start >/dev/null || fail "repair start"
none_kept() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
nodes = json.load(sys.stdin)["nodes"]
sys.exit(sum(node["hints"] + node["thin_rows"] for node in nodes) and str(nodes))'
}
wait_for 60 "it to get what was kept for it" none_kept
all_read while 60
pass
