#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Volumes: made, listed and removed; two of them mounted, which share nothing; and clients whose
# certificates confine them to one, who are refused everything else clearly and at once.
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
# as FOLDER: the options by which a mount shows that certificate
as() {
    echo "cert=$1/client.crt,key=$1/client.key,ca=$1/ca.crt"
}
# the names that 'volume list' tells
noted() {
    kithctl volume list | awk 'NR > 1 { printf "%s ", $1 }'
}

kithctl local up "$dir" --nodes 3 >up.log || fail "kithctl local up"
servers=$(cat "$dir"/node*/address | paste -sd,)
admin="cert=$dir/certs/admin.crt,key=$dir/certs/admin.key,ca=$dir/certs/ca.crt"
. "$dir/env"

say "made and listed"
[ "$(noted)" = "fs kv " ] || fail "there is more than fs and kv: $(noted)"
kithctl volume create photos --owner 1234:1235 >out
grep -q "Made the volume 'photos', number 3910977917" out || fail "create says: $(cat out)"
kithctl volume create notes --json >out
python3 -c 'import json; assert json.load(open("out")) == {"name": "notes", "number": 2415815213}' ||
    fail "create says: $(cat out)"
fails 1 "there is a volume 'photos' already" kithctl volume create photos
fails 64 "neither made nor removed" kithctl volume create fs
fails 64 "neither made nor removed" kithctl volume remove kv
for bad in '' 12 0x12 .a a/b 'a b' "$(printf 'x%.0s' {1..65})"; do
    fails 64 "a volume's name has 1 to 64" kithctl volume create "$bad"
done
fails 64 "there is no user 'nobody-there'" kithctl volume create z --owner nobody-there
[ "$(noted)" = "fs kv notes photos " ] || fail "not what was made: $(noted)"
kithctl volume list --json >out
python3 -c '
import json
for each in json.load(open("out"))["volumes"][2:]:
    assert each["by"].startswith("root@") and each["made"] > "2026", each' || fail "$(cat out)"

say "mounts"
fails 32 "kithctl volume create nope" kithfs "$servers:/" "$mnt" -o "$admin,volume=nope"
fails 1 "a volume's name has 1 to 64" kithfs "$servers:/" "$mnt" -o "$admin,volume=a/b"
mount_up "$mnt" "$admin"
mount_up "$work/mnt-p" "$admin,volume=photos"
[ "$(stat -c %u:%g:%a "$work/mnt-p")" = 1234:1235:755 ] || fail "not its owner's: $(stat "$work/mnt-p")"
echo one >"$mnt/file"
[ -z "$(ls -A "$work/mnt-p" | grep -v '^\.kith$')" ] || fail "it shows another's: $(ls -A "$work/mnt-p")"
echo two >"$work/mnt-p/file"
mkdir -p "$work/mnt-p/a/b"
head -c 3000000 /dev/urandom >"$work/mnt-p/a/b/large"
sync -f "$work/mnt-p/a/b/large"
[ "$(cat "$mnt/file")" = one ] || fail "the file of one is in the other"
python3 -c '
import errno, os, sys
for call in os.rename, os.link:
    try:
        call(sys.argv[1], sys.argv[2])
        sys.exit("it was done")
    except OSError as error:
        assert error.errno == errno.EXDEV, error' "$mnt/file" "$work/mnt-p/there" || fail "between the two"
grep -q " $work/mnt-p .* ${servers%%,*}:photos:/ " /proc/self/mountinfo || fail "not shown: $(grep mnt-p /proc/self/mountinfo)"
df "$work/mnt-p" | grep ":photos:/ " >/dev/null || fail "df does not show it: $(df "$work/mnt-p")"
grep -q "volume=photos" "$work/mnt-p/.kith/status" || fail ".kith/status: $(cat "$work/mnt-p/.kith/status")"
kithctl explain "$work/mnt-p/a/b/large" >out || fail "explain, in its mount: $(cat out)"
grep -q "^Path /a/b/large" out || fail "explain: $(cat out)"
kithctl explain /a/b/large --volume photos >/dev/null || fail "explain, without a mount"
fails 1 "no such file" kithctl explain /a/b/large
fails 64 "lies in a mount of volume 'photos', not 'fs'" kithctl explain "$work/mnt-p/file" --volume fs

say "who is confined to one of them"
ca=$dir/certs/ca
kithctl cert client album --volume photos --ca "$ca" >out
kithctl cert list --ca "$ca" | grep -E "album +3910977917 " >/dev/null || fail "list: $(kithctl cert list --ca "$ca")"
kithctl cert client looker --volume photos --read-only --ca "$ca" >/dev/null
mount_up "$work/mnt-a" "$(as album),volume=photos"
cmp "$work/mnt-p/a/b/large" "$work/mnt-a/a/b/large" || fail "a confined client reads something else"
echo three >"$work/mnt-a/a/new" || fail "a confined client cannot write"
sync -f "$work/mnt-a/a/new"
[ "$(cat "$work/mnt-p/a/new")" = three ] || fail "what it wrote is not there"
mkdir "$work/mnt-x"
fails 32 "the root directory of volume 'fs'" kithfs "$servers:/" "$work/mnt-x" -o "$(as album)"
grep -q "the certificate of client 'album' is not for volume fs" err || fail "why: $(cat err)"
fails 32 "is not for volume 2415815213" kithfs "$servers:/" "$work/mnt-x" -o "$(as album),volume=notes"
mountpoint -q "$work/mnt-x" && fail "it was mounted"
mount_up "$work/mnt-r" "ro,$(as looker),volume=photos"
[ "$(cat "$work/mnt-r/a/new")" = three ] || fail "who may only read does not"
export KITH_CERT=album/client.crt KITH_KEY=album/client.key
fails 1 "is not for volume fs" kithctl explain /file
kithctl explain /file --volume photos >/dev/null || fail "explain, as who is confined"
fails 1 "is not for volume" kithctl get key
fails 1 "the list of volumes cannot be read" kithctl volume list
fails 1 "is not for volume" kithctl volume create mine
. "$dir/env"

say "a conflict in it"
mount_up "$work/mnt-q" "$admin,volume=photos"
cat "$work/mnt-p/a/new" "$work/mnt-q/a/new" >/dev/null
python3 - "$work/mnt-p/a/new" "$work/mnt-q/a/new" <<'END2'
import os, sys
files = [os.open(path, os.O_WRONLY) for path in sys.argv[1:]]  # both have read the same version
for i, file in enumerate(files):
    os.write(file, b"by %d\n" % i)
for file in files:
    os.close(file)
END2
conflicts() {
    kithctl conflicts "$@" --count >count
    [ $? = 4 ] && [ "$(cat count)" = 1 ]
}
wait_for 10 "the conflict to be counted, in the mount" conflicts "$work/mnt-p"
conflicts --volume photos || fail "without a mount: $(cat count)"
[ "$(kithctl conflicts / --count)" = 0 ] || fail "it counts in fs"
ls "$work/mnt-p/a" | grep '^new.conflict-' >/dev/null || fail "not shown: $(ls "$work/mnt-p/a")"
wait_for 10 "the nodes to count it" bash -c "kithctl status | grep -q '1 file in conflict'"
kithctl resolve "$work/mnt-p/a/new" --latest >/dev/null || fail "resolve"
[ "$(kithctl conflicts --volume photos --count)" = 0 ] || fail "it is still there"

say "removed"
fails 1 "there is something in it" kithctl volume remove photos
grep -q "2 names in its root, such as a)" err || fail "remove: $(cat err)"
rm -r "$work/mnt-p/a" "$work/mnt-p/file"
kithctl volume remove photos >/dev/null || fail "remove, of an empty one"
[ "$(noted)" = "fs kv notes " ] || fail "it is still listed: $(noted)"
fails 1 "there is no volume 'photos'" kithctl volume remove photos
fails 32 "there is no volume 'photos'" kithfs "$servers:/" "$work/mnt-x" -o "$(as album),volume=photos"
kithctl volume create photos >/dev/null || fail "made again"
kithfs "$servers:/" "$work/mnt-x" -o "$(as album),volume=photos" || fail "mounted again"
[ "$(cat "$mnt/file")" = one ] || fail "fs has lost something"

say "a list of what is revoked, while a node is down"
node_kill 3
kithctl cert revoke looker --ca "$ca" >out
grep -q "kithctl cert push --ca $ca" out || fail "revoke does not say what is next: $(cat out)"
status=0
kithctl cert push --ca "$ca" >out 2>err || status=$?
[ $status = 1 ] || fail "push: exit status $status: $(cat out err)"
grep -q "^2 of 3 nodes have it" out || fail "push: $(cat out err)"
grep -q "$(cat "$dir/node3/address") *not taken: .*connection refused" out || fail "not named: $(cat out)"
cluster_up 3 >/dev/null
kithctl cert push --ca "$ca" --json >out || fail "push again: $(cat out)"
python3 -c 'import json; told = json.load(open("out")); assert told["taken"] == 3 == len(told["nodes"])' ||
    fail "push says: $(cat out)"
for n in 1 2 3; do cmp "$dir/node$n/crl.pem" "$ca/crl.pem" || fail "node $n has another list"; done
pass
