#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithctl init DIR and cert: what they make, what they refuse, and that nothing is ever overwritten that
# cannot be made again. No cluster.
. "$(dirname "$0")/lib.sh"

cd "$work"
umask 000 # the modes must not depend on it

# fails STATUS TEXT COMMAND...: kithctl fails with that status and says so
fails() {
    local want=$1 text=$2 status=0
    shift 2
    kithctl "$@" >out 2>err || status=$?
    [ $status = "$want" ] || fail "kithctl $*: exit status $status, not $want: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || fail "kithctl $*: not one line: $(cat err)"
    grep -qF -- "$text" err || fail "kithctl $*: '$(cat err)' does not say '$text'"
    [ ! -s out ] || fail "kithctl $*: wrote an answer: $(cat out)"
}
mode() {
    local got
    got=$(stat -c %a "$2")
    [ "$got" = "$1" ] || fail "$2 has mode $got, not $1"
}
# field FILE PATH...: of a JSON text
field() {
    python3 -c '
import json, sys
at = json.load(open(sys.argv[1]))
for step in sys.argv[2:]:
    at = at[int(step) if step.lstrip("-").isdigit() else step]
print(at)' "$@"
}

say "init makes an authority and the first certificates"
kithctl init ./etc --cluster home --node oak >out
grep -q "authority of the cluster 'home' in ./etc/ca" out || fail "init says: $(cat out)"
mode 700 etc/ca
for secret in etc/ca/ca.key etc/ca/index etc/node.key etc/admin.key; do mode 600 $secret; done
for public in etc/ca/ca.crt etc/ca/crl.pem etc/node.crt etc/admin.crt etc/ca.crt etc/crl.pem; do
    mode 644 $public
done
cp -a etc before
fails 1 "is there already, and stays as it is" init ./etc
rm etc/node.key etc/admin.key etc/ca.crt
fails 1 "all come from one authority" init ./etc
diff -r before/ca etc/ca || fail "a second init has changed the authority"
rm -r etc && mv before etc
fails 1 "cannot make ./no/such: No such file" init ./no/such
fails 64 "--partitions goes with 'init NODE'" init ./x --partitions 8
fails 64 "--node goes with 'init DIR'" init 127.0.0.1:1 --node oak
fails 64 "the cluster's name has 1 to 64" init ./x --cluster 'a b'
fails 64 "are the same" init ./x --cluster a --name b
[ ! -e x ] || fail "a refused init has made a folder"

say "cert issues for each role"
for role in node admin client; do
    kithctl cert $role a-$role --ca etc/ca --days 40 --json >out
    [ "$(field out role)" = $role ] || fail "$role: $(cat out)"
    mode 700 a-$role
    mode 600 a-$role/$role.key
    cmp a-$role/ca.crt etc/ca/ca.crt
    cmp a-$role/crl.pem etc/ca/crl.pem
done
fails 1 "is there already, and stays as it is: --renew" cert node a-node --ca etc/ca
for bad in '' ../x /x 'a b' -- $'a\nb' .x "$(printf 'x%.0s' {1..65})"; do
    fails 64 "" cert node "$bad" --ca etc/ca
done
fails 1 "a certificate is valid for 1 to 7" cert node x --ca etc/ca --days 7301
fails 64 "--days: '0' is no number" cert node x --ca etc/ca --days 0
for bad in 0 -1 4294967296 4294967293 a/b '' 010 0x 0x0 .x; do
    fails 64 "is no volume" cert client x --ca etc/ca --volume "$bad"
done
fails 64 "unknown option --volume" cert node x --ca etc/ca --volume 1
fails 1 "there is no authority in $work" cert node x --ca "$work"
kithctl init ./other --cluster home --node oak >/dev/null
fails 1 "is that of another authority" cert client x --ca other/ca --out a-node
[ ! -e x ] || fail "a refused cert has made a folder"

say "renewing keeps the key, and what its holder may do"
kithctl cert client laptop --ca etc/ca --volume 7 --volume=fs --read-only >out
cp -a laptop before
kithctl cert client laptop --ca etc/ca --renew --days 50 >out
cmp laptop/client.key before/client.key
cmp -s laptop/client.crt before/client.crt && fail "the certificate was not renewed"
kithctl cert list --ca etc/ca --json >out
for at in -1 -2; do
    [ "$(field out certificates $at name)" = laptop ] || fail "not the last: $(cat out)"
    [ "$(field out certificates $at volumes)" = '[7, 1]' ] || fail "volumes: $(cat out)"
    [ "$(field out certificates $at read_only)" = True ] || fail "access: $(cat out)"
done
fails 1 "is client 'laptop', not client 'desk'" cert client desk --ca etc/ca --out laptop --renew
chmod 644 laptop/client.key
fails 1 "chmod 600 laptop/client.key" cert client laptop --ca etc/ca --renew
chmod 600 laptop/client.key
chmod 644 etc/ca/ca.key
fails 1 "chmod 600 etc/ca/ca.key" cert client y --ca etc/ca
chmod 600 etc/ca/ca.key

say "list and revoke"
kithctl cert list --ca etc/ca --json >out
serial=$(field out certificates -1 serial)
kithctl cert list --ca etc/ca >out
grep -Eq "^valid +client +laptop +7,fs +read-only +in (49|50) d +$serial$" out || fail "list: $(cat out)"
fails 1 "no certificate of the name or serial number 'nobody'" cert revoke nobody --ca etc/ca
fails 1 "'$(printf %.7s "$serial")'" cert revoke "$(printf %.7s "$serial")" --ca etc/ca
kithctl cert revoke "$(printf %.8s "$serial")" --ca etc/ca >out
grep -q "^Revoked $serial$" out || fail "revoke: $(cat out)"
[ "$(kithctl cert list --ca etc/ca | grep -c '^revoked')" = 1 ] || fail "more than one is revoked"
kithctl cert revoke laptop --ca etc/ca --json >out
[ "$(python3 -c 'import json; print(len(json.load(open("out"))["revoked"]))')" = 1 ] ||
    fail "by name: $(cat out)"
kithctl cert revoke laptop --ca etc/ca | grep -q "revoked already" || fail "twice"
kithctl cert revoke 0123456789abcdef0123456789abcdef --ca etc/ca >/dev/null # one that is not listed

say "who is started at the same time waits"
for i in $(seq 12); do
    kithctl cert client same-$i --ca etc/ca >/dev/null &
    [ $((i % 4)) != 0 ] || kithctl cert revoke a-admin --ca etc/ca >/dev/null &
done
wait
[ "$(kithctl cert list --ca etc/ca 2>err | grep -c same-)" = 12 ] || fail "one is missing"
[ ! -s err ] || fail "list: $(cat err)"
[ -z "$(find etc other same-1 -name '*.??????')" ] || fail "left: $(find etc -name '*.??????')"

say "what is renewed is what was issued here, not what a folder says"
kithctl cert client own --ca etc/ca --volume 5 --read-only >/dev/null
kithctl cert client own --ca other/ca --out forged >/dev/null # all volumes, of an authority of that name
cp -a own raised
cp forged/client.crt raised/client.crt
fails 1 "raised/client.crt cannot be renewed" cert client own --ca etc/ca --out raised --renew
cp forged/client.key raised/client.key
fails 1 "raised/client.crt cannot be renewed" cert client own --ca etc/ca --out raised --renew
cp own/client.crt raised/client.crt # another's key
fails 1 "raised/client.crt cannot be renewed" cert client own --ca etc/ca --out raised --renew
cp own/client.key raised/client.key
cp etc/ca/index index && sed -i '/ own /d' etc/ca/index
fails 1 "does not name its serial number" cert client own --ca etc/ca --out raised --renew
mv index etc/ca/index
kithctl cert client own --ca etc/ca --out raised --renew >/dev/null
kithctl cert client lost --ca etc/ca >/dev/null
kithctl cert revoke lost --ca etc/ca >/dev/null
fails 1 "lost/client.crt cannot be renewed" cert client lost --ca etc/ca --renew

say "a key without its certificate is renewed as the index says, and a weak one is not"
kithctl cert client cut --ca etc/ca --volume 9 --read-only >/dev/null
rm cut/client.crt
kithctl cert client cut --ca etc/ca --renew >/dev/null
kithctl cert list --ca etc/ca --json >out
[ "$(field out certificates -1 volumes)" = '[9]' ] || fail "volumes: $(cat out)"
[ "$(field out certificates -1 read_only)" = True ] || fail "access: $(cat out)"
kithctl cert client cut --ca etc/ca --volume 10 --out cut2 >/dev/null
rm cut/client.crt # which of the two it was nobody knows
fails 1 "does not say what client 'cut' may do" cert client cut --ca etc/ca --renew
rm cut2/client.crt
mv cut2/client.key nobody.key
mkdir nobody && mv nobody.key nobody/client.key
fails 1 "does not say what client 'nobody' may do" cert client nobody --ca etc/ca --renew
kithctl cert client weak --ca etc/ca >/dev/null
rm weak/client.crt
openssl genrsa -traditional 1024 >weak/client.key 2>/dev/null
fails 1 "the key is too weak (80 bits" cert client weak --ca etc/ca --renew
[ ! -e weak/client.crt ] || fail "it was issued"

say "whoever names a key does not mean plain text"
status=0
KITH_KEY=own/client.key KITH_CA=own/ca.crt KITH_SERVERS=127.0.0.1:1 kithctl status --timeout 2s >out 2>err || status=$?
[ $status != 0 ] && grep -q "go together" err || fail "a key alone: $(cat out err)"

say "a list from a backup"
cp etc/ca/crl.pem backup.pem
kithctl cert revoke own --ca etc/ca >/dev/null
cp backup.pem etc/ca/crl.pem
kithctl cert list --ca etc/ca 2>err | grep -q '^revoked.* own ' || fail "it is forgotten"
grep -q "does not revoke 2 certificate(s)" err || fail "not told: $(cat err)"
kithctl cert revoke own --ca etc/ca >/dev/null 2>&1
kithctl cert list --ca etc/ca >/dev/null 2>err
[ ! -s err ] || fail "not mended: $(cat err)"

say "a damaged index is told, and the rest of it read"
printf 'abc' >>etc/ca/index
kithctl cert list --ca etc/ca 2>err | grep -c same- | grep -qx 12 || fail "entries are missing"
grep -q "1 line(s) cannot be read" err || fail "not told: $(cat err)"
pass
