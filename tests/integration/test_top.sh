#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithctl top and --watch: they take a terminal whole, and give it back as it was, whatever ends them; what
# is no terminal gets lines.
. "$(dirname "$0")/lib.sh"
cluster_up 1
nodes_up
say "status --watch"
/usr/bin/python3 "$here/top.py" kithctl status --watch --servers "$servers" >"$work/status.out" 2>&1 &
status=$!
/usr/bin/python3 "$here/top.py" kithctl top --servers "$servers" >"$work/top.out" 2>&1 || fail "top: $(cat "$work/top.out")"
wait $status || fail "status --watch: $(cat "$work/status.out")"

say "figures"
kithctl top --json --servers "$servers" >"$work/json" &
top=$!
wait_for 10 "the first look" test -s "$work/json"
for i in $(seq 20); do
    kv put "key$i" "value$i" >/dev/null
done
rates() {
    /usr/bin/python3 -c 'import json, sys
decoder, text, at, rates, times = json.JSONDecoder(), open(sys.argv[1]).read(), 0, [], []
while text[at:].strip():
    look, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
    rates.append(look["nodes"][0]["writes_per_second"])
    times.append(look["nodes"][0]["write_us"])
assert rates[0] is None and max(rate or 0 for rate in rates) > 0, rates
assert any(t["p99"] and 0 <= t["p50"] <= t["p99"] < 10e6 for t in times), times' "$work/json"
}
wait_for 20 "a look that has counted the writes" rates
kill $top
say "no cluster"
rc=0
timeout 3 kithctl top --servers 127.0.0.1:1 >"$work/out" 2>"$work/err" || rc=$?
[ $rc = 124 ] && grep -q 'kithctl: top: .*127.0.0.1:1' "$work/err" || fail "$rc: $(cat "$work/out" "$work/err")"
pass
