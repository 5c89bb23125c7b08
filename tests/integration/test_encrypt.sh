#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A node that encrypts what it stores: written to, killed, started again, and refused with another key.
. "$(dirname "$0")/lib.sh"
need_fuse

node=$dir/node1 marker=Th1sIsTheSecretThatNobodyMayRead key=$work/store.key
mkdir -p "$node"
head -c 32 /dev/urandom >"$key"
chmod 600 "$key"
printf '[node]\ndata = %s\nlisten = 127.0.0.1:0\ninsecure = yes\n[store]\nencrypt = yes\nencrypt_key = %s\ncache = 64M\n' \
    "$node" "$key" >"$work/kithd.conf"

# node_up: with that configuration; $servers
node_up() {
    rm -f "$node/address"
    kithd --config "$work/kithd.conf" "$@" >>"$work/kithd.log" 2>&1 &
    echo $! >"$work/node.pid"
    wait_for 20 "the node to listen" test -s "$node/address"
    servers=$(cat "$node/address")
}
node_gone() {
    kill "-$1" "$(cat "$work/node.pid")"
    wait "$(cat "$work/node.pid")" || true
}
files() { # unit.store_crypt compares their bytes
    find "$node" -printf '%p %s %m %T@\n' | sort
}
# refused WORD OPTION...: it says so, soon, and leaves all files as they are
refused() {
    local word=$1 before after status=0
    shift
    before=$(files)
    timeout 10 kithd "$@" >"$work/said" 2>&1 || status=$?
    [ $status = 1 ] || [ $status = 2 ] || fail "kithd $*: status $status, $(cat "$work/said")"
    grep -q -- "$word" "$work/said" || fail "kithd $*: $(cat "$work/said")"
    after=$(files)
    [ "$before" = "$after" ] || fail "kithd $* has changed files"
}
nowhere() {
    ! grep -rlaF "$marker" "$node" || fail "$1: contents are to be read there"
}

say "written, and killed"
node_up
wait_for 10 "a cluster" kithctl init "$servers"
kv put "$marker" "$marker small"
mount_up
for _ in $(seq 1 40000); do echo "$marker"; done >"$work/large" # chunks in segments
cp "$work/large" "$mnt/$marker"
mount_down
nowhere "in use"
node_gone KILL
nowhere "killed"

say "started again"
node_up
[ "$(kv get "$marker")" = "$marker small" ] || fail "get after kill -9"
mount_up
cmp "$work/large" "$mnt/$marker" || fail "a file after kill -9"
mount_down
node_gone TERM
nowhere "ended"

say "other keys"
head -c 32 /dev/urandom >"$work/other.key"
chmod 600 "$work/other.key"
head -c 31 "$key" >"$work/short.key"
cp "$key" "$work/open.key"
chmod 644 "$work/open.key"
chmod 600 "$work/short.key"
config=(--config "$work/kithd.conf")
refused "encrypted with another key" "${config[@]}" --encrypt-key "$work/other.key"
refused "31 bytes; 32 random bytes" "${config[@]}" --encrypt-key "$work/short.key"
refused "chmod 600" "${config[@]}" --encrypt-key "$work/open.key"
refused "$work/none.key" "${config[@]}" --encrypt-key "$work/none.key"
refused "is for --encrypt" "${config[@]}" --no-encrypt
refused "is encrypted: set encrypt = yes" --data "$node" --listen 127.0.0.1:0 --insecure
refused "credential kithd.key" --data "$node" --listen 127.0.0.1:0 --insecure --encrypt

say "the key as a credential"
mkdir "$work/credentials"
cp "$key" "$work/credentials/kithd.key"
sed -i '/^encrypt_key/d' "$work/kithd.conf"
CREDENTIALS_DIRECTORY=$work/credentials node_up
[ "$(kv get "$marker")" = "$marker small" ] || fail "get with the key from a credential"
node_gone TERM

say "a node that is not encrypted"
rm -r "$node"
node_up --no-encrypt
wait_for 10 "a cluster" kithctl init "$servers"
kv put "$marker" "$marker small"
node_gone TERM
grep -rlaqF "$marker" "$node" || fail "what is not encrypted is found by nowhere()"
refused "is not encrypted, and encrypt is set" "${config[@]}" --encrypt-key "$key"
pass
