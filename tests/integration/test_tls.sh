#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A cluster of three nodes with certificates: what admins, clients and confined clients may do, what
# who has none gets, and that renewing and revoking need no restart.
. "$(dirname "$0")/lib.sh"

cd "$work"
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done; wait; cleanup' EXIT

# as ROLE-FOLDER COMMAND...: with that certificate
as() {
    local folder=$1 role
    shift
    role=$(basename "$folder"/*.key .key)
    KITH_CERT=$folder/$role.crt KITH_KEY=$folder/$role.key KITH_CA=$folder/ca.crt "$@"
}
# fails STATUS TEXT COMMAND...
fails() {
    local want=$1 text=$2 status=0
    shift 2
    "$@" >out 2>err || status=$?
    [ $status = "$want" ] || fail "$*: exit status $status, not $want: $(cat out err)"
    grep -qF -- "$text" err || fail "$*: '$(cat err)' does not say '$text'"
}
node_up() { # N FILES: with so many descriptors
    ulimit -n "$2"
    exec kithd --data "data$1" --listen "127.0.0.1:0" --cert "n$1/node.crt" --key "n$1/node.key" \
        --ca "n$1/ca.crt" --crl "n$1/crl.pem" --log "log$1"
}
node_start() { # N FILES
    node_up "$@" &
    pids+=($!)
    wait_for 20 "node $1 listens" test -s "data$1/address"
    address[$1]=$(cat "data$1/address")
}

say "three nodes"
kithctl init ./etc --cluster home --node oak >/dev/null
mkdir admin && cp -p etc/admin.* etc/ca.crt admin/
for n in 1 2 3; do kithctl cert node n$n --ca etc/ca >/dev/null; done
kithctl cert client anna --ca etc/ca >/dev/null
kithctl cert client reader --ca etc/ca --volume kv --read-only >/dev/null
kithctl cert client files --ca etc/ca --volume fs >/dev/null
declare -a address
for n in 1 2; do node_start $n "$(ulimit -n)"; done
node_start 3 300
export KITH_SERVERS=${address[1]}
fails 1 "does not allow INIT_REQ" as anna kithctl init "${address[1]}"
fails 3 "" kithctl init "${address[1]}" --timeout 2s
as admin kithctl init "${address[1]}" >/dev/null
as admin kithctl status | grep -q '^Cluster home ' || fail "it has another name than its certificates: $(as admin kithctl status)"
fails 1 "does not allow JOIN_CMD" as anna kithctl join "${address[2]}"
as admin kithctl join "${address[2]}" >/dev/null
as admin kithctl join "${address[3]}" >/dev/null
wait_for 30 "three nodes are up" bash -c "$(declare -f as); as admin kithctl status | grep -q '3 of 3 nodes up'"

say "who may what"
as anna kithctl put greeting hello >/dev/null
[ "$(as anna kithctl get greeting)" = hello ] || fail "anna reads something else"
[ "$(as reader kithctl get greeting)" = hello ] || fail "a reader cannot read"
as reader kithctl put greeting no --timeout 3s >out 2>err && fail "a reader writes"
as files kithctl get greeting --timeout 3s >out 2>err && fail "who may touch fs alone reads kv"
[ "$(as anna kithctl get greeting)" = hello ] || fail "it was written"
as anna kithctl status >/dev/null
fails 3 "" kithctl get greeting --timeout 2s
fails 3 "" kithctl status --timeout 2s

say "mounts"
kithctl cert client writer --ca etc/ca --volume fs >/dev/null
certificate() { # FOLDER
    echo "cert=$1/client.crt,key=$1/client.key,ca=$1/ca.crt,crl=$1/crl.pem"
}
servers=${address[1]},${address[2]}
mount_up "$mnt" "$(certificate writer)"
echo one >"$mnt/file" || fail "nothing can be written in a mount"
head -c 3000000 /dev/urandom >"$mnt/large"
sync -f "$mnt/large"
mount_up "$work/mnt2" "$(certificate anna)"
[ "$(cat "$work/mnt2/file")" = one ] || fail "another mount reads something else"
cmp "$mnt/large" "$work/mnt2/large" || fail "the large file differs"
kithctl cert client looker --ca etc/ca --volume fs --read-only >/dev/null
mount_up "$work/mnt3" "ro,$(certificate looker)"
[ "$(cat "$work/mnt3/file")" = one ] || fail "a mount that may read does not"
mkdir "$work/mnt4"
for options in mount_timeout=2 mount_timeout=2,key=writer/client.key; do
    timeout 30 kithfs "$servers:/" "$work/mnt4" -o $options >out 2>err && fail "mounted with $options"
    mountpoint -q "$work/mnt4" && fail "mounted with $options"
    [ -s err ] || fail "nothing is told with $options"
done
grep -q "go together" err || fail "a key alone: $(cat err)"

say "other programs' calls"
# call ROLE-FOLDER METHOD: the gRPC status, of node 2 or the one at $to
call() {
    /usr/bin/python3 - "${to:-${address[2]}}" "$1" "$2" <<'END'
import glob, sys
import grpc
address, folder, method = sys.argv[1:]
def read(pattern):
    with open(glob.glob(folder + "/" + pattern)[0], "rb") as file:
        return file.read()
own = [name for name in glob.glob(folder + "/*.key")][0][len(folder) + 1:-4]
credentials = grpc.ssl_channel_credentials(read("ca.crt"), read(own + ".key"), read(own + ".crt"))
options = (("grpc.ssl_target_name_override", "node.kithfs"),)
with grpc.secure_channel(address, credentials, options) as channel:
    try:
        channel.unary_unary(method)(b"", timeout=10)
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name)
END
}
for each in 'anna /kith.v1.Cluster/Status OK' 'anna /kith.v1.Cluster/Join PERMISSION_DENIED' \
    'reader /kith.v1.Kv/Put PERMISSION_DENIED' 'files /kith.v1.Kv/Get PERMISSION_DENIED'; do
    read -r who method want <<<"$each"
    got=$(call "$who" "$method")
    [ "$got" = "$want" ] || fail "$method by $who: $got, not $want"
done

say "strangers at the port of a node with 300 descriptors"
cat >strangers.py <<'END'
import resource, socket, sys
host, port = sys.argv[1].split(":")
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
for _ in range(1000):
    try:
        held.append(socket.create_connection((host, int(port))))
    except ConnectionResetError:  # it was closed before connect() had returned
        pass
print("connected", flush=True)
sys.stdin.read()
END
mkfifo hold
python3 strangers.py "${address[3]}" <hold >connected &
strangers=$!
exec 3>hold
wait_for 20 "a thousand have connected" grep -q connected connected
KITH_SERVERS=${address[3]} as anna kithctl put greeting crowded >/dev/null
[ "$(KITH_SERVERS=${address[3]} as anna kithctl get greeting)" = crowded ] || fail "it is not read"
wait_for 20 "node 3 tells of it" grep -q "have not shown who they are" log3
[ "$(ls "/proc/${pids[2]}/fd" | wc -l)" -lt 225 ] || fail "node 3 has hardly any descriptors left"
exec 3>&-
wait $strangers || fail "a stranger was not even accepted by the kernel"
again() {
    [ "$(to=${address[3]} call anna /kith.v1.Cluster/Status)" = OK ]
}
wait_for 20 "a client is let in from where they came" again

say "a new certificate for each node while it runs"
for n in 1 2 3; do
    cp n$n/node.crt old$n.crt
    kithctl cert node n$n --ca etc/ca --renew >/dev/null
    wait_for 20 "node $n takes it" grep -q "taken: the certificate of node 'n$n'" log$n
done
as anna kithctl put greeting again >/dev/null
echo two >"$mnt/second" || fail "the mount has stopped"
[ "$(cat "$work/mnt2/second")" = two ] || fail "the other mount has stopped"
[ "$(as reader kithctl get greeting)" = again ] || fail "nothing is read after that"

say "revoking"
kithctl cert revoke anna --ca etc/ca >/dev/null
cp etc/ca/crl.pem n1/crl.pem # one has it by hand already
as looker kithctl cert push --ca etc/ca >out && fail "a client sends lists: $(cat out)"
[ "$(grep -c "does not allow REVOKED_CMD" out)" = 3 ] || fail "a client's push: $(cat out)"
as admin kithctl cert push --ca etc/ca >out || fail "push: $(cat out)"
grep -q "^3 of 3 nodes have it" out || fail "push says: $(cat out)"
cmp data2/crl.pem etc/ca/crl.pem || fail "node 2 has another list"
for n in 1 2; do # anna's mount has connections with them, or tries to
    wait_for 20 "node $n closes what anna has open" grep -q "'anna' has been revoked" log$n
done
wait_for 20 "anna is kept out" bash -c "$(declare -f as); ! as anna kithctl get greeting --timeout 2s"
[ "$(as reader kithctl get greeting)" = again ] || fail "another one is kept out, too"
ls "$mnt" >/dev/null || fail "another mount is kept out, too"
as admin kithctl status | grep -q '3 of 3 nodes up' || fail "$(as admin kithctl status)"

say "options that make no sense"
fails 1 "go together" kithd --data x --cert n1/node.crt
fails 2 "a node's is wanted" kithd --data data9 --listen 127.0.0.1:0 --cert admin/admin.crt \
    --key admin/admin.key --ca admin/ca.crt
chmod 644 n1/node.key
fails 2 "chmod 600 n1/node.key" kithd --data data9 --listen 127.0.0.1:0 --cert n1/node.crt \
    --key n1/node.key --ca n1/ca.crt
pass
