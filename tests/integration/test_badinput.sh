#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What bad input gets: an error that names the thing, the process alive or ended in order, nothing
# lost.
. "$(dirname "$0")/lib.sh"

# refuses TEXT COMMAND...: ends within 20 s with a status other than 0 and says TEXT on stderr
refuses() {
    local text=$1 rc=0
    shift
    timeout 20 "$@" >"$work/out.log" 2>"$work/err.log" || rc=$?
    [ $rc != 0 ] || fail "was not refused: $*"
    [ $rc != 124 ] || fail "hung: $*"
    [ $rc -lt 128 ] || fail "died of a signal ($rc): $*: $(cat "$work/err.log")"
    grep -qiE "$text" "$work/err.log" ||
        fail "no '$text' in the message of: $*: $(cat "$work/err.log")"
}

# no_sense TEXT COMMAND...: refused at once, with the status that says so, 64
no_sense() {
    local start=$SECONDS rc=0
    refuses "$@"
    "${@:2}" >/dev/null 2>&1 || rc=$?
    [ $rc = 64 ] || fail "status $rc, not 64: ${*:2}"
    [ $((SECONDS - start)) -lt 5 ] || fail "took $((SECONDS - start)) s: ${*:2}"
}

say "bad options"
refuses "nonsense" kithd --nonsense
refuses "data" kithd
refuses "listen|address" kithd --data "$work/n" --insecure --listen "not an address"
refuses "cache" kithd --data "$work/n" --listen 127.0.0.1:0 --insecure --cache many
refuses "kithctl cert node.*--insecure" kithd --data "$work/n" --listen 127.0.0.1:0
for address in 0.0.0.0:0 '[::]:0' 192.0.2.1:7070; do
    refuses "loopback alone.*kithctl cert node" kithd --data "$work/n" --insecure --listen "$address"
done
refuses "exclude each other" kithd --data "$work/n" --insecure --cert a --key b --ca c
[ ! -e "$work/n" ] || fail "kithd that was refused has made its directory"
refuses "frobnicate" kithctl frobnicate
refuses "nosuch.conf" kithd --config "$work/nosuch.conf" --data "$work/n"
printf '[node]\nlisten = 127.0.0.1:0\nshoe_size = 44\n' >"$work/bad.conf"
refuses "bad.conf:3.*shoe_size" kithd --config "$work/bad.conf" --data "$work/n"

no_sense "local up DIR" kithctl local
no_sense "did you mean 'up'" kithctl local ip
for form in --help -h help 'local --help' 'local -h' 'local up --help' 'local up -h' --version; do
    # shellcheck disable=SC2086 # words
    kithctl $form >"$work/help" 2>&1 || fail "kithctl $form gave $?: $(cat "$work/help")"
    [ "$form" = --version ] || grep -q 'local up DIR' "$work/help" || fail "kithctl $form: no help"
    refuses "cannot write" sh -c "kithctl $form >/dev/full"
done
for server in a:b a:99999 :99999 127.0.0.1:0 :0 '[::1]x' '[]:1' ''; do
    no_sense "address" kithctl get key --servers "$server"
done
no_sense "address" kithctl init 127.0.0.1:99999
for number in x -1 1x '' 99999999999999999999; do
    no_sense "limit" kithctl scan key:a --limit "$number"
    no_sense "version" kithctl get a --version "$number"
    no_sense "weight" kithctl init 127.0.0.1:1 --weight "$number"
    no_sense "replicas" kithctl init 127.0.0.1:1 --replicas "$number"
    no_sense "nodes" kithctl local up "$work/none" --nodes "$number"
done
no_sense "partitions" kithctl init 127.0.0.1:1 --partitions 1000
no_sense "version" kithctl get a --version 0
no_sense "nodes" kithctl local up "$work/none" --nodes 0
no_sense "cache" kithctl local up "$work/none" --cache 1
[ ! -e "$work/none" ] || fail "a refused 'local up' has made its folder"
no_sense "VALUE and --file" kithctl put a b --file /dev/null
no_sense "group" kithctl scan nonsense
no_sense "key" kithctl get ''
no_sense "name" kithctl init 127.0.0.1:1 --name ''
no_sense "name" kithctl init 127.0.0.1:1 --name "$(printf '%0100d' 0)"
no_sense "zone" kithctl init 127.0.0.1:1 --zone "$(printf '%0100d' 0)"
no_sense "zone" kithctl join 127.0.0.1:1 --zone "$(printf '%0100d' 0)"

cluster_up 3
kv put keep safe
port=$(cut -d: -f2 "$dir/node1/address")
pid=$(node_pid 1)

say "garbage on the port"
for size in 1 100 100000; do
    head -c $size /dev/urandom >"/dev/tcp/127.0.0.1/$port" || true
done
printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\377\377\377\377\377\377\377\377' \
    >"/dev/tcp/127.0.0.1/$port" || true
printf 'GET / HTTP/1.1\r\n\r\n' >"/dev/tcp/127.0.0.1/$port" || true
kill -0 "$pid" || fail "node1 died of garbage"
[ "$(kv get keep)" = safe ] || fail "get after garbage"

say "a second kithd on the same data"
refuses "node1" kithd --data "$dir/node1" --insecure --listen 127.0.0.1:0
kill -0 "$pid" || fail "node1 died of a second kithd"
say "a port in use"
refuses "$port" kithd --data "$work/other" --insecure --listen "127.0.0.1:$port"

say "a peer of another cluster"
c2=$work/c2$'\xff' # a folder whose name is not UTF-8 can be told in JSON too
mkdir "$c2"
kithctl local up "$c2" --nodes 1 --insecure --json >"$work/up.json" || fail "local up --json"
other=$(cat "$c2/node1/address")
refuses "cluster" kithctl join "$other" --through "$(cat "$dir/node1/address")"
kithctl local down "$c2" --json >"$work/down.json" || fail "local down --json"
[ "$(cat "$work/up.json" "$work/down.json" | grep -c '"dir_base64"')" = 2 ] || fail "dir in JSON"
[ "$(kv get keep)" = safe ] || fail "get after a foreign join"

say "nobody there"
refuses "127.0.0.1:1" timeout 15 kithctl get keep --servers 127.0.0.1:1 --timeout 2s

say "a value that is too large"
head -c 2000000 /dev/zero >"$work/large"
refuses "large" kithctl put toolarge --file "$work/large" --servers "$servers"

say "a node that joins a cluster with data ends while that moves"
kithd --data "$work/late" --insecure --listen 127.0.0.1:0 --log "$work/late.log" &
echo $! >"$work/late.pid"
wait_for 20 "the late node to listen" test -s "$work/late/address"
kithctl join "$(cat "$work/late/address")" --through "$(cat "$dir/node1/address")" ||
    fail "a join to a cluster that has data"
kill "$(cat "$work/late.pid")"
[ "$(kv get keep)" = safe ] || fail "get while data moves to a node that has ended"
kithctl plan revert --servers "$servers" || fail "a move to a node that has ended is given up"
[ "$(kv get keep)" = safe ] || fail "get after a move that was given up"

# fail_small WHAT: with what the node on the small disk has said
fail_small() {
    [ ! -f "$work/small/c/node1.log" ] || sed 's/^/    node1.log: /' "$work/small/c/node1.log"
    df -k "$work/small" | sed 's/^/    /'
    fail "$@"
}

if [ "$(id -u)" = 0 ]; then
    say "a full disk"
    mkdir "$work/small"
    mount -t tmpfs -o size=64m tmpfs "$work/small"
    echo "$work/small" >"$work/small.mounted"
    kithctl local up "$work/small/c" --nodes 1 --insecure >/dev/null
    small=$(cat "$work/small/c/node1/address")
    kithctl put before full --servers "$small"
    kithctl put before2 full --servers "$small"
    head -c 60000 /dev/urandom >"$work/value"
    full=no
    for i in $(seq 1 2000); do
        if ! timeout 20 kithctl put "fill$i" --file "$work/value" --servers "$small" \
            2>"$work/err.log"; then
            full=yes
            break
        fi
    done
    [ $full = yes ] || fail_small "64 MiB took 120 MB"
    grep -qiE 'space|full' "$work/err.log" ||
        fail_small "a full disk is not named: $(cat "$work/err.log")"
    kill -0 "$(cat "$work/small/c/node1/kithd.pid")" ||
        fail_small "the node has ended on a full disk"
    kithctl delete before2 --servers "$small" || fail_small "no delete on a full disk"
    # what was acknowledged is there once there is room
    mount -o remount,size=512m "$work/small"
    kithctl local up "$work/small/c" --nodes 1 --insecure >/dev/null ||
        fail_small "no start after the disk was full"
    small=$(cat "$work/small/c/node1/address")
    [ "$(kithctl get before --servers "$small")" = full ] ||
        fail_small "lost a value on a full disk"
    kithctl get "fill$((i - 1))" --servers "$small" | cmp - "$work/value" ||
        fail_small "lost the last value"

    say "up again while the last run is ending"
    for i in 1 2 3; do
        kill "$(cat "$work/small/c/node1/kithd.pid")"
        kithctl local up "$work/small/c" >/dev/null ||
            fail_small "no start while the last run was ending"
    done
    kithctl local down "$work/small/c" >/dev/null

    say "a read-only data directory"
    cluster_down
    mount --bind "$dir/node1" "$dir/node1"
    mount -o remount,ro,bind "$dir/node1"
    refuses "read-only" kithd --data "$dir/node1" --insecure --listen 127.0.0.1:0
    umount "$dir/node1"
else
    cluster_down
fi

say "a damaged file that only this node has (tables that others have, too: test_damaged_file.sh)"
cp -a "$dir/node1" "$work/damaged"
victim=$(find "$work/damaged" -name 'meta*.wt' | head -n 1)
[ -n "$victim" ] || fail "no meta*.wt in $work/damaged"
rm "$work/damaged/identity" # with that it would be known who it is
dd if=/dev/urandom of="$victim" bs=4096 count=1 conv=notrunc status=none
refuses "damaged" kithd --data "$work/damaged" --insecure --listen 127.0.0.1:0

cluster_up 3
[ "$(kv get keep)" = safe ] || fail "get at the end"
pass
