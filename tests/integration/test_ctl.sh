#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What kithctl says and leaves behind when it fails: errors in JSON, servers where nobody is, and a
# 'local up' that is taken back.
. "$(dirname "$0")/lib.sh"

# A kithctl that starts nodes by a script beside it: those named in $bad end at once.
bin=$work/bin
bad=$work/bad
mkdir "$bin"
cp "$KITH_BIN/kithctl" "$bin/kithctl"
cat >"$bin/kithd" <<SCRIPT
#!/bin/sh
if grep -qx "\${2##*/}" "$bad" 2>/dev/null; then
    echo "the disk of \${2##*/} is broken" >&2
    exit 3
fi
exec "$KITH_BIN/kithd" "\$@"
SCRIPT
chmod +x "$bin/kithd"

# fails STATUS COMMAND...: with that status; what it says is in $work/out and $work/err
fails() {
    local want=$1 rc=0
    shift
    timeout 60 "$@" >"$work/out" 2>"$work/err" || rc=$?
    [ $rc = "$want" ] || fail "status $rc, not $want: $*: $(cat "$work/out" "$work/err")"
}
# says TEXT: on standard error
says() {
    grep -q -- "$1" "$work/err" || fail "no '$1' in: $(cat "$work/err")"
}
# runs DIR: how many nodes of it do
runs() {
    pgrep -fc -- "kithd --data $1/" || true
}

# json_fails STATUS CODE COMMAND WORD...: the error of 'kithctl WORD... --json' is one line of JSON
# on standard error, which says so; standard output is empty
json_fails() {
    local want=$1 code=$2 command=$3
    shift 3
    fails "$want" kithctl "$@"
    [ ! -s "$work/out" ] || fail "an error on standard output: $*: $(cat "$work/out")"
    /usr/bin/python3 - "$want" "$code" "$command" "$work/err" <<'PY' ||
import json, sys
want, code, command, path = sys.argv[1:]
lines = open(path, encoding="utf-8").read().splitlines()
assert len(lines) == 1, lines
error = json.loads(lines[0])["error"]
assert error["code"] == code and error["exit_status"] == int(want), error
assert error.get("command", "") == command and error["message"], error
PY
        fail "$*: $(cat "$work/err")"
}
say "errors in JSON"
nobody=127.0.0.1:1
json_fails 3 EUNREACH status status --json --servers $nobody
json_fails 3 EUNREACH get get key --json --servers $nobody
json_fails 3 EUNREACH put put key value --json --servers $nobody
json_fails 3 EUNREACH delete delete --json key --servers $nobody
json_fails 3 EUNREACH scan scan key:key --servers $nobody --json
json_fails 3 EUNREACH init init $nobody --json
json_fails 3 EUNREACH join join $nobody --through 127.0.0.1:2 --json
json_fails 1 EIO 'local up' local up "$work/no/such" --json
json_fails 1 ENOTFOUND 'local down' local down "$work/none" --json
json_fails 1 ENOTFOUND 'local status' local status "$work/none" --json
json_fails 1 EIO put put key --file "$work/none" --json
json_fails 64 EINVAL get get --json
json_fails 64 EINVAL get get key --limit 3 --json
json_fails 64 EINVAL status status --json --servers a:b
json_fails 64 EINVAL scan scan key: --json
json_fails 64 EINVAL '' frobnicate --json
json_fails 64 EINVAL '' local --json
json_fails 64 EINVAL get get $'\xff' --servers $'\xff:x' --json # told in UTF-8 all the same
fails 64 kithctl get -- --json --json # a key and one argument too many: no option
says "^kithctl: get: '--json' is one argument too many"
KITH_SERVERS=a:b fails 64 kithctl get key
says KITH_SERVERS
KITH_SERVERS=a:b fails 1 kithctl local status "$work" # asks none of these

say "nobody there: told soon; somebody slow: waited for"
start=$SECONDS
fails 3 kithctl get key --servers 127.0.0.1:1,127.0.0.1:2 --timeout 40s
[ $((SECONDS - start)) -lt 15 ] || fail "took $((SECONDS - start)) s where nobody is"
says '127.0.0.1:1,127.0.0.1:2.*connection refused.*is kithd running there'
many=$(seq -f '127.0.0.1:%g' -s , 64)
fails 3 kithctl status --servers "$many"
says 'connection refused; [.][.][.]); is kithd' # cut between two, and said so
fails 3 kithctl get key --servers "$many"
says 'no node of 127.0.0.1:1,.*,127[.0-9]*:[0-9]*,[.][.][.] answered within.*is kithd running there'
/usr/bin/python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(600)' >"$work/silent" &
echo $! >"$work/silent.pid"
wait_for 10 "a silent server" test -s "$work/silent"
start=$(date +%s%N)
fails 3 kithctl get key --servers "127.0.0.1:1,127.0.0.1:$(cat "$work/silent")" --timeout 3s
took=$((($(date +%s%N) - start) / 1000000))
[ $took -ge 3000 ] || fail "took only $took ms where somebody may yet answer"

say "a new cluster of which a node does not come up"
echo node2 >"$bad"
new=$work/new
fails 3 "$bin/kithctl" local up "$new"
says 'node2 has ended again: exit status 3'
says 'the disk of node2 is broken'
says "taken back: 2 started nodes stopped, what was made of 3 nodes removed, and $new with it"
[ ! -e "$new" ] || fail "left behind: $(ls -R "$new")"
[ "$(runs "$new")" = 0 ] || fail "nodes still run"
fails 3 "$bin/kithctl" local up "$new" --json
[ ! -s "$work/out" ] || fail "an error on standard output: $(cat "$work/out")"
/usr/bin/python3 -c 'import json, sys
error = json.loads(sys.stdin.read())["error"]
assert error["command"] == "local up" and error["exit_status"] == 3, error
assert "node2 is broken" in error["log_end"] and error["log"].endswith("node2.log"), error
assert "3 nodes removed" in error["taken_back"], error' <"$work/err" || fail "$(cat "$work/err")"

say "what was there before stays"
mkdir -p "$new/node2"
echo precious | tee "$new/file" >"$new/node2/file"
echo 'an old line' >"$new/node3.log"
fails 3 "$bin/kithctl" local up "$new"
[ "$(cat "$new/file" "$new/node2/file")" = $'precious\nprecious' ] || fail "a file is gone"
grep -qx 'an old line' "$new/node3.log" || fail "an old log is gone"
[ "$(cd "$new" && echo *)" = 'file node2 node3.log' ] || fail "left behind: $(ls "$new")"
[ "$(runs "$new")" = 0 ] || fail "nodes still run"

say "a node that an older cluster gets does not come up"
kithctl local up "$dir" --nodes 1 --insecure >/dev/null
[ ! -e "$dir/certs" ] || fail "certificates with --insecure"
servers=$(cat "$dir/node1/address")
kv put keep safe
pid=$(node_pid 1)
fails 3 "$bin/kithctl" local up "$dir" --nodes 3
says 'what was made of 2 nodes removed; the cluster keeps its 1 node$'
[ "$(node_pid 1)" = "$pid" ] && [ "$(runs "$dir")" = 1 ] || fail "node1 was to run on"
[ ! -e "$dir/node2" ] && [ ! -e "$dir/node3.log" ] || fail "left behind: $(ls "$dir")"
cluster_down
fails 3 "$bin/kithctl" local up "$dir" --nodes 3
[ "$(runs "$dir")" = 1 ] || fail "node1, of an older cluster, was to run on"
cluster_up 1
[ "$(kv get keep)" = safe ] || fail "the data of an older cluster"

say "a cluster with data gets two nodes more, and the data moves"
grown=$work/grown
kithctl local up "$grown" --nodes 1 >/dev/null
fails 3 kithctl put keep no --timeout 2s --servers "$(cat "$grown/node1/address")" # it wants a certificate
fails 1 kithctl local up "$grown" --insecure
says 'has certificates already'
. "$grown/env"
kithctl put keep moved
kithctl local up "$grown" --nodes 3 >/dev/null
other=$(cat "$grown/node2/address"),$(cat "$grown/node3/address")
all_moved() {
    . "$grown/env"
    kithctl status --json --servers "$other" >"$work/status.log" &&
        /usr/bin/python3 - "$work/status.log" <<'EOF'
import json, sys
nodes = json.load(open(sys.argv[1]))['nodes']
owned = [node['partitions'] for node in nodes]
sys.exit(owned != [1024] * 3)
EOF
}
wait_for 30 "all three to own all partitions" all_moved
kill -9 "$(cat "$grown/node1/kithd.pid")"
[ "$(kithctl get keep --servers "$other")" = moved ] || fail "the data of the first node"
kithctl local down "$grown" >/dev/null
unset KITH_SERVERS KITH_CERT KITH_KEY KITH_CA KITH_CRL

say "a node that fails leaves a cluster as it was"
echo node1 >"$bad"
cluster_down
fails 3 "$bin/kithctl" local up "$dir"
says 'taken back: 0 started nodes stopped; the cluster keeps its 1 node$'
cluster_up 1
[ "$(kv get keep)" = safe ] || fail "the data of an older cluster, after its node had failed"

say "no kithd at all"
mkdir "$work/alone"
cp "$KITH_BIN/kithctl" "$work/alone/kithctl"
PATH=/usr/bin:/bin fails 1 "$work/alone/kithctl" local up "$work/kithless"
[ ! -e "$work/kithless" ] || fail "left behind: $work/kithless"

say "two at once"
fails 1 flock "$dir" kithctl local down "$dir"
says 'at work there'
fails 1 flock "$dir" kithctl local up "$dir"
[ "$(runs "$dir")" = 1 ] || fail "node1 was to run on"

if [ "$(id -u)" = 0 ]; then
    say "a cluster of another user"
    chmod 755 "$work" "$dir" "$bin"
    start=$SECONDS
    fails 1 setpriv --reuid 65534 --regid 65534 --clear-groups "$bin/kithctl" local down "$dir"
    says 'node1: process .*not permitted'
    [ $((SECONDS - start)) -lt 15 ] || fail "waited $((SECONDS - start)) s for it to end"
    [ "$(runs "$dir")" = 1 ] || fail "node1 was to run on"
fi
pass
