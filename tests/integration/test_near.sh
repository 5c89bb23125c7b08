#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Processes of one machine meet through local sockets, under the address by which the others know a
# node; where there is none they meet by TCP.
. "$(dirname "$0")/lib.sh"
need_fuse

name=node$$.kithfs.test:7070 # of nobody else on this machine, whose sockets all are seen
# sockets ADDRESS: local sockets of that name: who listens, and his end of each connection
sockets() {
    grep -c " @kithfs/$1\$" /proc/net/unix || true
}
# tcp PORT: connections to it
tcp() {
    awk -v port="$(printf ':%04X$' "$1")" '$4 == "01" && $3 ~ port' /proc/net/tcp /proc/net/tcp6 | wc -l
}
kithctl init "$work/etc" --cluster near --node oak >/dev/null # others can reach those by hand
certificate=(--cert "$work/etc/node.crt" --key "$work/etc/node.key" --ca "$work/etc/ca.crt")
by_hand() {
    kithd --data "$work/hand" --log "$work/hand.log" "${certificate[@]}" "$@" 2>"$work/hand.err" &
    echo $! >"$work/hand.pid"
    wait_for 30 "kithd to listen" grep -q 'reached at' "$work/hand.log"
}
end_by_hand() {
    local pid
    pid=$(cat "$work/hand.pid")
    kill "$pid"
    wait "$pid" || fail "kithd ended with $?"
    rm -rf "$work/hand.pid" "$work/hand" "$work/hand.log"
}

cluster_up 3
mount_up
echo text >"$mnt/file"
for address in ${servers//,/ }; do
    [ "$(sockets "$address")" -ge 2 ] || fail "nobody is connected to @kithfs/$address"
    [ "$(tcp "${address##*:}")" = 0 ] || fail "TCP to $address"
done
mount_down
cluster_down

say "nodes without them"
n=0
for address in ${servers//,/ }; do # in the order of the nodes
    n=$((n + 1))
    kithd --insecure --data "$dir/node$n" --listen "$address" --no-local-socket --log "$dir/node$n.log" &
    echo $! >"$work/node$n.pid"
done
nodes_up
mount_up
[ "$(cat "$mnt/file")" = text ] || fail "the mount cannot be read"
for address in ${servers//,/ }; do
    [ "$(sockets "$address")" = 0 ] || fail "there is @kithfs/$address"
    [ "$(tcp "${address##*:}")" -ge 1 ] || fail "no TCP to $address"
done
mount_down
for pid in "$work"/node*.pid; do
    kill "$(cat "$pid")"
    wait "$(cat "$pid")" || fail "a node ended with $?"
    rm "$pid"
done

say "the name: what the others know it by, unless it listens there only"
by_hand --listen 0.0.0.0:0
[ "$(sockets "$(cat "$work/hand/address")")" = 1 ] || fail "not by $(cat "$work/hand/address")"
end_by_hand
by_hand --listen 0.0.0.0:0 --advertise "$name"
[ "$(sockets "$name")" = 1 ] || fail "not by what is advertised"
end_by_hand
by_hand --listen 127.77.7.7:0 --advertise "$name" # an address that nobody else listens on
[ "$(sockets "$name")" = 0 ] || fail "by what is advertised"
[ "$(sockets '127\.77\.7\.7:[0-9]*')" = 1 ] || fail "not by what it listens on"
end_by_hand

say "a name that is taken"
python3 -c '
import signal, socket, sys
taken = socket.socket(socket.AF_UNIX)
taken.bind("\0kithfs/" + sys.argv[1])
taken.listen()
print("taken", flush=True)
signal.pause()
' "$name" >"$work/taken" &
pid=$!
wait_for 10 "the name to be taken" grep -q taken "$work/taken"
rc=0
kithd "${certificate[@]}" --data "$work/hand" --listen 0.0.0.0:0 --advertise "$name" \
    2>"$work/hand.err" || rc=$?
[ $rc = 2 ] || fail "status $rc"
grep -q "local socket @kithfs/$name: another process has it" "$work/hand.err" ||
    fail "$(cat "$work/hand.err")"
kill $pid
pass
