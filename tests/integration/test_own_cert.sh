#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The certificate that kithctl and a mount show where nobody names one; and that who may not do what he
# asks for is told so at once.
. "$(dirname "$0")/lib.sh"
need_fuse

cd "$work"
# fails STATUS TEXT COMMAND...: within a time that is much less than any timeout
fails() {
    local want=$1 text=$2 status=0 begun=$EPOCHREALTIME
    shift 2
    timeout 30 "$@" >out 2>err || status=$?
    [ $status = "$want" ] || fail "$*: exit status $status, not $want: $(cat out err)"
    grep -qF -- "$text" err || fail "$*: '$(cat err)' does not say '$text'"
    [ $((${EPOCHREALTIME/./} - ${begun/./})) -lt 5000000 ] || fail "$*: took its time: $(cat err)"
}

kithctl local up "$dir" --nodes 1 >up.log || fail "kithctl local up"
servers=$(cat "$dir"/node*/address)
export KITH_SERVERS=$servers
kithctl local status "$dir" | grep "^node1 .* http://$(cat "$dir/node1/metrics")/$" >/dev/null ||
    fail "where its page is: $(kithctl local status "$dir")"
certs=$dir/certs
kithctl cert client anna --ca "$certs/ca" >/dev/null
kithctl cert client looker --ca "$certs/ca" --volume fs --read-only >/dev/null
export XDG_CONFIG_HOME=$work/config
own=$XDG_CONFIG_HOME/kithfs
mkdir -p "$own"

say "the user's folder"
fails 3 "" kithctl status --timeout 2s # an empty KITH_CERT is none
unset KITH_CERT
cp -p anna/* "$own"
kithctl put greeting hello >/dev/null || fail "put"
[ "$(kithctl get greeting)" = hello ] || fail "get"
fails 1 "certificate of client 'anna' is not for volume 4294967293" kithctl volume list
mount_up
echo one >"$mnt/file" || fail "nothing can be written"
grep -q "cert=$own/client.crt" "$mnt/.kith/status" || fail "$(cat "$mnt/.kith/status")"
cp -p "$certs"/admin.* "$own"
kithctl volume list >/dev/null || fail "an admin's certificate does not come first"
mount_up "$work/mnt2"
grep -q "cert=$own/client.crt" "$work/mnt2/.kith/status" || fail "a mount shows an admin's"
mount_down "$work/mnt2"

say "options and the environment come first"
fails 1 "looker' is not for volume kv" env KITH_CERT=looker/client.crt KITH_KEY=looker/client.key \
    KITH_CA=looker/ca.crt kithctl get greeting
fails 1 "go together" env KITH_KEY=looker/client.key kithctl get greeting
fails 3 "" env KITH_CERT= kithctl get greeting --timeout 2s
fails 32 "" kithfs "$servers:/" "$work/mnt2" -o insecure,mount_timeout=2
fails 2 "contradict" kithfs "$servers:/" "$work/mnt2" -o "insecure,ca=$own/ca.crt"

say "half of one is no plain text"
rm "$own"/admin.key
fails 1 "$own/admin.key is missing beside the rest" kithctl status
rm "$own"/admin.crt "$own"/ca.crt
fails 1 "$own/ca.crt is missing beside the rest" kithctl get greeting
fails 2 "$own/ca.crt is missing beside the rest" kithfs "$servers:/" "$work/mnt2"
rm -r "$own"

say "the system's folder"
cat >system.sh <<'END2'
set -e
mkdir -p low/kithfs user/kithfs
cp -p looker/* low/kithfs # anna's are the user's: 'mount' does not take them
cp -p anna/* user/kithfs
mount -t overlay overlay -o "lowerdir=$PWD/low:/etc" /etc
"$KITH_BIN/kithctl" status >/dev/null
ln -s "$KITH_BIN/kithfs" mount.kithfs
XDG_CONFIG_HOME=$PWD/user ./mount.kithfs "$KITH_SERVERS:/" "$PWD/mnt-s" -o log=system.log
grep -q "cert=/etc/kithfs/client.crt" mnt-s/.kith/status
[ "$(cat mnt-s/file)" = one ]
umount mnt-s
XDG_CONFIG_HOME=$PWD/user kithfs "$KITH_SERVERS:/" "$PWD/mnt-s"
grep -q "cert=$PWD/user/kithfs/client.crt" mnt-s/.kith/status
umount mnt-s
END2
mkdir mnt-s
if unshare -m mount -t overlay overlay -o "lowerdir=$work:/etc" /etc 2>/dev/null; then
    unshare -m bash -x system.sh >system.out 2>&1 || fail "in /etc/kithfs: $(cat system.out)"
fi

say "a certificate for reading only makes a mount of that kind"
looker=cert=looker/client.crt,key=looker/client.key,ca=looker/ca.crt
kithfs "$servers:/" "$work/mnt2" -o "$looker" 2>err || fail "not mounted: $(cat err)"
grep -q "is for reading only, and so is this mount" err || fail "nothing is said: $(cat err)"
[ "$(cat "$work/mnt2/file")" = one ] || fail "it reads something else"
fails 1 "Read-only file system" touch "$work/mnt2/other"
fails 1 "Read-only file system" chmod 600 "$work/mnt2/file"
export KITH_CERT=looker/client.crt KITH_KEY=looker/client.key KITH_CA=looker/ca.crt
fails 1 "is not for volume" kithctl get greeting
fails 1 "is for reading only" kithctl put greeting again --blind
fails 1 "is not for volume" kithctl plan drop
pass
