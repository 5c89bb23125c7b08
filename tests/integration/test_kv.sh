#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The key-value door through kithctl: put, get, siblings, delete, scan; again after stopping,
# killing and starting the nodes; with one of three dead.
. "$(dirname "$0")/lib.sh"

cluster_up 3
kv put greeting hello
[ "$(kv get greeting)" = hello ] || fail "get after put"
kv put greeting again
[ "$(kv get greeting)" = again ] || fail "a put that has read replaces"
for i in $(seq 1 50); do
    kv put "key$i" "value $i"
done

say "levels"
for level in one quorum local-quorum each-quorum all; do
    kv put "at-$level" $level --level $level
    [ "$(kv get "at-$level" --level $level)" = $level ] || fail "get --level $level"
done
kv get at-one --level two 2>"$work/level" && fail "there is no level two"
grep -q -- "--level is one, quorum" "$work/level" || fail "$(cat "$work/level")"

say "all stopped and started"
cluster_down
cluster_up 3
[ "$(kv get greeting)" = again ] || fail "get after a restart"

say "all killed and started"
for n in 1 2 3; do node_kill $n; done
cluster_up 3
for i in 1 25 50; do
    [ "$(kv get "key$i")" = "value $i" ] || fail "key$i after kill -9 of every node"
done

for dead in 1 2 3; do
    say "node$dead dead"
    node_kill $dead
    [ "$(kv get key7)" = "value 7" ] || fail "get with node$dead dead"
    kv put "during$dead" "written while node$dead was dead"
    [ "$(kv get "during$dead")" = "written while node$dead was dead" ] || fail "read back"
    cluster_up 3
done
for dead in 1 2 3; do
    [ "$(kv get "during$dead")" = "written while node$dead was dead" ] ||
        fail "during$dead at the end"
done

kv put doomed x
kv delete doomed
kv get doomed >/dev/null 2>&1 && fail "a deleted key is still there"

say "two blind puts make siblings, a put that has read settles them"
kv put --blind both one
kv put --blind both two
kv get both >"$work/both" 2>&1 && fail "siblings must not look like one value"
kv put both settled
[ "$(kv get both)" = settled ] || fail "settled"

say "keys and values that are not UTF-8, in JSON"
odd=$'k\xff\x01'
# json WHAT=TEXT COMMAND...: succeeds, and its JSON holds that
json() {
    local want=$1
    shift
    kv "$@" --json >"$work/json" 2>"$work/json.log" || fail "--json $want: $(cat "$work/json.log")"
    /usr/bin/python3 -c 'import json, sys
at, want = sys.argv[1].split("=", 1)
here = json.load(sys.stdin)
for key in at.split("."):
    here = here[int(key) if isinstance(here, list) else key]
sys.exit(0 if here == want else f"{here}, not {want}")' "$want" <"$work/json" 2>>"$work/json.log" ||
        fail "--json $want: $(cat "$work/json" "$work/json.log")"
}
json key_base64=a/8B put "$odd" $'v\xfe'
json key_base64=a/8B get "$odd"
json versions.0.value_base64=dv4= get "$odd"
json 0.name_base64=a/8B scan "key:$odd"
json key_base64=a/8B delete "$odd"
json key=plain put plain value
json versions.0.value=value get plain

say "one of several versions"
kv put --blind several one
kv put --blind several two
first=$(kv get several --version 1)
json "versions.0.value=$first" get several --version 1
/usr/bin/python3 -c 'import json, sys; sys.exit(len(json.load(sys.stdin)["versions"]) != 1)' \
    <"$work/json" || fail "--version 1 --json gives more than one"
for form in '' --json; do
    rc=0
    kv get several --version 3 $form >/dev/null 2>&1 || rc=$?
    [ $rc = 1 ] || fail "a version that is not there gave $rc with '$form'"
done

kithctl status --servers "$servers" >"$work/status" || fail "status of a healthy cluster is not 0"
grep -q 'UP' "$work/status" || fail "status shows no node"
say "status with a node that hangs"
hung=$(node_pid 3)
kill -STOP "$hung"
start=$(date +%s%N)
rc=0
kithctl status --servers "$servers" >"$work/status" || rc=$?
took=$((($(date +%s%N) - start) / 1000000))
[ $rc = 1 ] || fail "status with a node that hangs gave $rc, not 1 (degraded)"
[ $took -lt 4000 ] || fail "status took $took ms with a node that hangs"
grep -q '^Not answering: .*no answer within' "$work/status" || fail "silent: $(cat "$work/status")"
[ "$(awk '$1 == "SILENT"' "$work/status" | wc -l)" = 1 ] || fail "silent: $(cat "$work/status")"
awk '$1 == "SILENT"' "$work/status" | grep -q ' now ' && fail "seen now: $(cat "$work/status")"
kill -CONT "$hung"
nodes_up

node_kill 2
rc=0
kithctl status --servers "$servers" >"$work/status" || rc=$?
[ $rc = 1 ] || fail "status with a dead node gave $rc, not 1 (degraded)"
pass
