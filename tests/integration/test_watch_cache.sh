#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a client keeps under watches is never believed for longer than it holds (watch_cache.c),
# while each of three nodes is killed, and frozen for longer than a lease; and so is the client
# itself. The pauses are the workload: the verdict does not depend on their length.
. "$(dirname "$0")/lib.sh"
tool=$KITH_BIN/tests/integration/watch_cache
[ -x "$tool" ] || fail "no $tool"

cluster_up 3
seconds=45
[ -z "${KITH_FULL:-}" ] || seconds=90
"$tool" "$servers" $seconds >"$work/watch.out" 2>"$work/watch.log" &
pid=$!
echo $pid >"$work/watch.pid"
running() {
    kill -0 $pid 2>/dev/null
}
begun() {
    grep -q "an epoch is read" "$work/watch.out" || ! running
}
wait_for 60 "the watches to be live" begun
cat "$work/watch.out"

faults=0
while running; do
    for n in 1 2 3; do
        running || break
        victim=$(node_pid $n)
        node_kill $n
        sleep 1 # work without it
        cluster_up 3
        nodes_up
        sleep 1
        running || break
        victim=$(node_pid $n)
        kill -STOP "$victim"
        sleep 4 # more than a lease
        kill -CONT "$victim"
        sleep 1
        faults=$((faults + 2))
    done
    running || break
    kill -STOP $pid
    sleep 9 # the lease, and a burst of writes after it
    kill -CONT $pid
done
wait $pid || fail "$(tail -n 3 "$work/watch.out" "$work/watch.log")"
rm -f "$work/watch.pid"
summary=$(tail -n 1 "$work/watch.out")
say "$faults faults: $summary"
hits=$(sed -n 's/^hits \([0-9]*\) .*/\1/p' <<<"$summary")
[ "${hits:-0}" -ge 10000 ] || fail "hardly anything was kept: $summary"
pass
