#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The metrics and the status page of running nodes: what they say while nodes come and go; that the manual
# has all of them, and that a port that is in use keeps no node from its work.
. "$(dirname "$0")/lib.sh"
look() {
    /usr/bin/python3 "$here/metrics.py" "$@"
}
at() {
    cat "$dir/node$1/metrics"
}
# value N NAME{LABELS}: of node N
value() {
    look "$(at "$1")" value "$2"
}
# is N VALUE NAME{LABELS}
is() {
    local now
    now=$(value "$1" "$3") && [ "$now" = "$2" ]
}

cluster_up 4
nodes_up
for i in $(seq 12); do
    kv put "key$i" "value$i" >/dev/null
    kv get "key$i" >/dev/null
done
say "the format, and the manual"
promtool=$(command -v promtool || true)
[ -n "$promtool" ] || say "promtool (Debian: prometheus) is not here: the format is judged by metrics.py alone"
look "$(at 1)" "$KITH_TOP/packaging/man/kithd-metrics.7" ${promtool:+"$promtool"} || fail "what node1 serves"
if command -v chromium >/dev/null; then
    timeout 60 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --enable-logging=stderr \
        --virtual-time-budget=7000 --dump-dom "http://$(at 1)/" >"$work/page" 2>"$work/browser" || fail "$(cat "$work/browser")"
    ! grep CONSOLE "$work/browser" || fail "the browser has something to say"
    grep -q '4 of 4 nodes up' "$work/page" && grep -q 'id="silent".*hidden' "$work/page" || fail "the page: $(cat "$work/page")"
else
    say "chromium is not here: what the page's script does is not tested"
fi
puts=0
rows=0
for n in 1 2 3 4; do
    puts=$((puts + $(value $n 'kith_requests_total{op="put",result="ok"}')))
    rows=$((rows + $(value $n kith_rows)))
    is $n 3 'kith_gossip_members{state="alive"}' || fail "node$n does not know all others"
    is $n 1024 'kith_partitions{owners="all"}' || fail "not all are whole for node$n"
    is $n "$(value $n 'kith_requests_total{op="put",result="ok"}')" 'kith_request_duration_seconds_count{op="put"}' ||
        fail "puts of node$n without a duration"
done
[ $puts = 12 ] || fail "$puts puts were counted, not 12"
[ $rows -ge 24 ] || fail "$rows rows are told"

say "a node that is down"
node_kill 4
wait_for 30 "node1 to miss node4" is 1 1 'kith_gossip_members{state="down"}'
is 1 768 'kith_partitions{owners="majority"}' || fail "$(value 1 'kith_partitions{owners="majority"}') miss an owner"
is 1 0 'kith_partitions{owners="minority"}' || fail "some miss two"
for i in $(seq 12); do
    kv put "later$i" "value$i" >/dev/null
done
hints() {
    [ $(($(value 1 kith_hints) + $(value 2 kith_hints) + $(value 3 kith_hints))) -ge 1 ]
}
wait_for 20 "writes to be kept for node4" hints

say "a port that is in use"
kithd --data "$work/other" --listen 127.0.0.1:0 --insecure --metrics "$(at 1)" --log "$work/other.log" &
other=$!
echo $other >"$work/other.pid"
wait_for 20 "the warning" grep -q 'no status page and no metrics until it can listen' "$work/other.log"
grep ' warn .*no status page' "$work/other.log" | grep -q 'metrics = no' || fail "no remedy: $(cat "$work/other.log")"
wait_for 20 "it to listen all the same" test -s "$work/other/address"
taken=$(at 1)
cluster_down
[ ! -e "$dir/node1/metrics" ] || fail "node1 has left its file"
wait_for 20 "the port to be taken over" test -s "$work/other/metrics"
[ "$(cat "$work/other/metrics")" = "$taken" ] || fail "not the port that was asked for"
[ "$(look "$taken" value kith_table_version)" = 0 ] || fail "it is in no cluster"
kill $other
wait $other || fail "kithd ended with $?"
rm "$work/other.pid"
for wrong in nowhere 127.0.0.1 127.0.0.1:99999 ''; do
    rc=0
    kithd --data "$work/wrong" --listen 127.0.0.1:0 --insecure --metrics "$wrong" >"$work/said" 2>&1 || rc=$?
    [ $rc = 1 ] && grep -q 'HOST:PORT' "$work/said" || fail "--metrics '$wrong' gave $rc: $(cat "$work/said")"
done
pass
