#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# One node of three is left: a mount reads, lists, creates, changes, renames and removes, files of any
# size; a strict one is refused soon, and says why. When the others are back they get what they have
# missed, and the one that was alone is needed no longer. Then five nodes, of which some partitions
# have one owner left, or none: who is no owner stands in, and hands it over.
. "$(dirname "$0")/lib.sh"
need_fuse
strict=$work/mnt2

# value EXPRESSION: of kithctl status --json, with its nodes that are up
value() {
    kv status --json >"$work/json" || true
    /usr/bin/python3 -c 'import json, sys
nodes = [n for n in json.load(open(sys.argv[1]))["nodes"] if n["state"] == "up"]
sys.exit(not eval(sys.argv[2]))' "$work/json" "$1"
}
nothing_owed() {
    value 'all(n["hints"] == 0 and n["thin_rows"] == 0 for n in nodes)'
}
same_chunks() {
    value 'len({n["chunks"] for n in nodes}) == 1'
}
# within SECONDS COMMAND...: it succeeds, and does not wait for nodes that are down
within() {
    local start=$SECONDS
    "${@:2}" || fail "failed: ${*:2}"
    [ $((SECONDS - start)) -le "$1" ] || fail "took $((SECONDS - start)) s: ${*:2}"
}
# refused COMMAND...: it fails, and soon
refused() {
    local start=$SECONDS
    ! "$@" 2>"$work/err" || fail "not refused: $*"
    [ $((SECONDS - start)) -le 4 ] || fail "refused only after $((SECONDS - start)) s: $*"
}
put() {
    printf '%s\n' "$2" >"$1"
}

cluster_up 3
nodes_up
mount_up
mount_up "$strict" strict
mkdir "$mnt/dir" "$work/same" "$work/same/dir"
for i in $(seq 20); do
    put "$mnt/dir/$i" "file $i"
    put "$work/same/dir/$i" "file $i"
done
head -c 3000000 /dev/urandom >"$work/same/large"
cp "$work/same/large" "$mnt/large"
sync -f "$mnt"
[ "$(cat "$strict/dir/7")" = "file 7" ] || fail "the strict mount does not read"

say "one node of three is left"
node_kill 2
node_kill 3
wait_for 10 "the node that is left to notice" value 'len(nodes) == 1'
within 2 put "$mnt/dir/new" new
within 2 ls "$mnt/dir" >"$work/list"
[ "$(wc -l <"$work/list")" = 21 ] || fail "ls: $(cat "$work/list")"
within 2 cat "$mnt/dir/3" >/dev/null
within 2 put "$mnt/dir/3" "another 3"
within 2 mkdir "$mnt/dir2"
within 2 mv "$mnt/dir/4" "$mnt/dir2/four"
within 2 rm "$mnt/dir/5"
within 2 ln "$mnt/dir/6" "$mnt/dir2/six"
within 2 cmp "$work/same/large" "$mnt/large"
head -c 5000000 /dev/urandom >"$work/same/larger"
within 5 cp "$work/same/larger" "$mnt/larger"
within 5 sync -f "$mnt"
head -c 2000000 /dev/urandom >"$work/part"
within 5 dd if="$work/part" of="$mnt/large" conv=notrunc,fsync bs=100k status=none
(
    cd "$work/same"
    put dir/new new
    put dir/3 "another 3"
    mkdir dir2
    mv dir/4 dir2/four
    rm dir/5
    ln dir/6 dir2/six
    dd if="$work/part" of=large conv=notrunc bs=100k status=none
)
say "another mount, too"
mount_up "$work/mnt3"
diff -r "$work/same" "$work/mnt3" || fail "another mount reads something else"
mount_down "$work/mnt3"
rc=0
kv status >"$work/status" || rc=$?
[ $rc = 2 ] || fail "status gave $rc"
grep -q 'rows that stand on fewer copies than a quorum[.]$' "$work/status" ||
    fail "status says nothing of thin rows: $(cat "$work/status")"
rc=0
kv handoff >"$work/status" || rc=$?
[ $rc = 1 ] || fail "handoff gave $rc"
grep -Eq '^[0-9.:]+ +0 +0 B +0 +[1-9][0-9]* +(now|[0-9]+ s)$' "$work/status" ||
    fail "handoff: $(cat "$work/status")"
say "strict"
refused put "$strict/dir/8" no
refused mkdir "$strict/no"
grep -q 'owners' "$work/mnt2.log" || fail "no reason in the log: $(cat "$work/mnt2.log")"
[ ! -e "$mnt/no" ] || fail "a refused directory is there"

say "the others are back"
cluster_up 3
nodes_up
start=$SECONDS
wait_for 60 "what is owed to be handed over" nothing_owed
wait_for 60 "the chunks to be at all owners" same_chunks
say "handed over in $((SECONDS - start)) s"
kv handoff | grep -qx 'Nothing waits to be handed over.' || fail "handoff: $(kv handoff)"
put "$strict/dir/8" "strictly"
put "$work/same/dir/8" "strictly"
diff -r "$work/same" "$mnt" || fail "something else is there"
node_kill 1 # that alone had it
mount_up "$work/mnt3" strict
diff -r "$work/same" "$work/mnt3" || fail "it was on one node alone"
[ -z "$(find "$mnt" -name '*.conflict-*')" ] || fail "conflicts: $(find "$mnt" -name '*.conflict-*')"
mount_down "$work/mnt3"
mount_down "$strict"
mount_down
cluster_down

say "five nodes, and two are down"
dir=$work/five
mkdir "$dir"
cluster_up 5
nodes_up
# puts FROM TO VALUE [OPTION...], gets FROM TO VALUE: of keys
puts() {
    local i
    for i in $(seq "$1" "$2"); do
        kv put "key$i" "$3 $i" "${@:4}" || fail "put key$i is refused"
    done
}
gets() {
    local i
    for i in $(seq "$1" "$2"); do
        [ "$(kv get "key$i")" = "$3 $i" ] || fail "key$i is $(kv get "key$i"), not '$3 $i'"
    done
}
puts 1 25 first
node_kill 1
node_kill 2
puts 1 25 second
gets 1 25 second
say "three are down"
node_kill 3
puts 26 45 third --blind # a key without any owner up cannot be read first
gets 26 45 third
value 'sum(n["custody"] for n in nodes) > 0' || fail "nobody stands in: $(cat "$work/json")"
say "all are back"
cluster_up 5
nodes_up
start=$SECONDS
wait_for 60 "what is kept to be handed over" nothing_owed
say "handed over in $((SECONDS - start)) s"
for k in 4 5; do # that stood in
    node_kill $k
    gets 1 25 second
    gets 26 45 third
    cluster_up 5
    nodes_up
done
cluster_down
pass
