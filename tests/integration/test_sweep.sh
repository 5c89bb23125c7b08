#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The contents of deleted and replaced files go from the disks of all nodes; not while a node is away,
# and nothing goes that a file has, whatever was renamed, copied or restarted meanwhile. A day is some
# seconds here.
. "$(dirname "$0")/lib.sh"
need_fuse
grace=${KITH_SWEEP:-6}

node_sweeps() { # N: started again by hand, with a short day
    kithd --insecure --data "$dir/node$1" --listen "$(cat "$dir/node$1/address")" --sweep "${grace}s" \
        --log "$dir/node$1.log" &
    echo $! >"$dir/node$1/kithd.pid"
}
# sums EXPRESSION: of the JSON of kithctl status: nodes
sums() {
    { kv status --json || true; } | /usr/bin/python3 -c 'import json, sys
nodes = json.load(sys.stdin)["nodes"]
if not eval(sys.argv[1]): sys.exit(1)' "$1"
}
# with_fd FD PYTHON: by a program that has it open, as fd
with_fd() {
    /usr/bin/python3 -c 'import errno, os, sys
fd = int(sys.argv[1])
def raises(code, call, *words):
    try: call(*words)
    except OSError as e: return e.errno == code
exec(sys.argv[2])' "$1" "$2"
}
# segments_take MIB: of the disks, less than so much
segments_take() {
    [ "$(du -cm "$dir"/node*/chunks | tail -n 1 | cut -f 1)" -lt "$1" ]
}

say "three nodes that sweep after $grace s"
cluster_up 3
nodes_up
for i in 1 2 3; do node_kill $i; done
for i in 1 2 3; do node_sweeps $i; done
nodes_up
mount_up "$mnt" lease=1

say "files are written, renamed, copied, replaced, deleted"
mkdir "$mnt/a" "$mnt/b"
for i in 1 2 3 4; do head -c 8M /dev/urandom >"$mnt/a/f$i"; done
mkdir "$mnt/gone"
head -c 40M /dev/urandom >"$mnt/gone/large"
for i in $(seq 20); do head -c 100K /dev/urandom >"$mnt/gone/f$i"; done
head -c 8M /dev/urandom >"$mnt/open"
sha256sum <"$mnt/open" >"$work/open"
sync "$mnt"/a/* "$mnt"/gone/* "$mnt/open"
cat "$mnt"/a/f* | sha256sum >"$work/before"
sleep "$grace" # they are old: what refers to them anew has to be allowed to
mv "$mnt/a/f2" "$mnt/b/f2"
cp --reflink=auto "$mnt/a/f3" "$mnt/b/f3"
rm "$mnt/a/f3"
echo "and more" >>"$mnt/a/f4"
mkdir "$mnt/c"
mv "$mnt/a" "$mnt/c/a"
rm -r "$mnt/gone"
mount_down
mount_up "$mnt" lease=1 # with nothing in memory
away=$work/mnt3 # a mount that leases nothing, as one on a laptop that sleeps
for f in kept lost; do head -c 8M /dev/urandom >"$mnt/$f"; done
sync "$mnt/kept" "$mnt/lost"
cp "$mnt/kept" "$work/kept"
mount_up "$away"
exec 7<>"$away/kept" 8<>"$away/lost"
cmp - "$work/kept" <&7 # in its memory
for f in kept lost; do echo "another $f" >"$mnt/$f"; done
exec 9<"$mnt/open"
rm "$mnt/open" # open for days

say "they go"
wait_for $((grace * 10 + 30)) "chunks to be swept" \
    sums 'all(n["sweep"]["swept_bytes"] > (40 + 1 + 16) << 20 for n in nodes)'
wait_for 30 "their space to be free" segments_take 150
sums 'sum(n["sweep"]["swept"] for n in nodes) >= 3 * (40 + 20 + 16)' || fail "$(kv status --json)"
kv status | grep -q "^Sweep of what no file refers to: .*; since .* deleted[.,]" || fail "$(kv status)"
kv gc | awk 'NR > 1 && NF == 8 && $3 > 0 { n++ } END { exit n != 3 }' || fail "$(kv gc)"
kv gc --json | /usr/bin/python3 -c 'import json, sys
for n in json.load(sys.stdin)["nodes"]: assert n["answered"] and n["sweep"]["swept_bytes"] > 57 << 20, n' ||
    fail "$(kv gc --json)"
kv explain /b/f2 | grep -q "^Sweep of what no file refers to: " || fail "$(kv explain /b/f2)"
sums 'all(n["chunk_bytes"] < 41 << 20 for n in nodes)' || fail "$(kv status --json)"

say "the names of deleted files are forgotten"
wait_for $((grace * 10 + 30)) "deleted rows to be reaped" \
    sums 'all(n["reap"]["rows"] >= 20 for n in nodes)'
sums "any(n['reap']['floors'] > 0 for n in nodes)" || fail "$(kv status --json)"
[ ! -e "$mnt/gone" ] || fail "a deleted directory is back"
mkdir "$mnt/gone"
touch "$mnt/gone/f1" "$mnt/b/new"
[ "$(ls "$mnt/gone")" = f1 ] || fail "deleted files are back: $(ls "$mnt/gone")"
rm -r "$mnt/gone" "$mnt/b/new"

say "what a file has stays, over days"
truncate -s 8M "$mnt/c/a/f4"
for _ in 1 2 3 4; do
    sleep "$grace"
    cat "$mnt"/c/a/f1 "$mnt"/b/f2 "$mnt"/b/f3 "$mnt"/c/a/f4 | sha256sum | cmp - "$work/before" ||
        fail "other contents"
done
sha256sum <&9 | cmp - "$work/open" || fail "an open file without a name has other contents"
exec 9<&-
mount_down
mount_up "$mnt" 7<&- 8<&- # else its daemon has them open, too
cat "$mnt"/c/a/f1 "$mnt"/b/f2 "$mnt"/b/f3 "$mnt"/c/a/f4 | sha256sum | cmp - "$work/before" ||
    fail "other contents with another mount"

say "a file is changed that was open while others replaced it, and its contents went"
echo "and more" >>"$work/kept"
with_fd 7 'os.write(fd, b"and more\n"); os.fsync(fd)' || fail "not stored: $(tail -n 5 "$away.log")"
with_fd 8 'os.pwrite(fd, b"changed", 100); assert raises(errno.EIO, os.fsync, fd)
assert raises(errno.EIO, os.pread, fd, 100, 8192)' || fail "no error: $(tail -n 5 "$away.log")"
grep -q 'bytes of an open file, .* are gone: another mount has' "$away.log" ||
    fail "no reason: $(tail -n 5 "$away.log")"
with_fd 8 'os.ftruncate(fd, 0); os.pwrite(fd, b"all new\n", 0); os.fsync(fd)' ||
    fail "not stored: $(tail -n 5 "$away.log")"
exec 7<&- 8<&-
mount_down "$away"
mount_up "$away"
cmp "$work/kept" "$away/kept" || fail "other contents"
grep -qx 'all new' "$away/lost" || fail "not what was written instead of the lost"
kv scan 00000001000000000000000000000000 >"$work/rows"
for f in kept lost; do # what the others wrote is a version of its own
    awk -v name=$f '$1 == 2 && $NF == name { found = 1 } END { exit !found }' "$work/rows" ||
        fail "no two versions of $f: $(cat "$work/rows")"
done
mount_down "$away"
rm "$mnt/kept" "$mnt/lost"

say "nothing goes while a node is away"
head -c 20M /dev/urandom >"$mnt/late"
sync "$mnt/late"
node_kill 3
rm "$mnt/late"
sleep $((grace * 4))
sums 'min(n["chunk_bytes"] for n in nodes if "chunk_bytes" in n) >= (32 + 20) << 20' ||
    fail "swept: $(kv status --json)"
sums 'any("cannot be reached" in n["sweep"]["waits_for"] for n in nodes if "sweep" in n)' ||
    fail "no reason is told: $(kv status --json)"
{ kv status || true; } | grep -q ' waits: node .* cannot be reached\.$' || fail "$(kv status)"
rc=0
kv gc >"$work/gc" || rc=$?
[ $rc = 1 ] || fail "gc gave $rc: $(cat "$work/gc")"
grep -q ' waits with chunks: .* cannot be reached\.$' "$work/gc" || fail "$(cat "$work/gc")"
node_sweeps 3
nodes_up
wait_for $((grace * 10 + 60)) "chunks to be swept when it is back" \
    sums 'max(n["chunk_bytes"] for n in nodes) < (32 + 8) << 20'
cat "$mnt"/c/a/f1 "$mnt"/b/f2 "$mnt"/b/f3 "$mnt"/c/a/f4 | sha256sum | cmp - "$work/before" ||
    fail "other contents at the end"

say "a disk is put back from a copy in which there are files that were deleted long ago"
rows=$(kv status --json | /usr/bin/python3 -c 'import json, sys
print(max(n["rows"] for n in json.load(sys.stdin)["nodes"]))')
mkdir "$mnt/old"
for i in $(seq 40); do echo "$i" >"$mnt/old/f$i"; done
sync "$mnt"/old/*
node_kill 3
cp -a "$dir/node3" "$work/old3"
node_sweeps 3
nodes_up
rm -r "$mnt/old"
wait_for $((grace * 10 + 30)) "them to be forgotten" sums "all(n['rows'] < $rows + 9 for n in nodes)"
mount_down
node_kill 3
rm -r "$dir/node3"
cp -a "$work/old3" "$dir/node3"
node_sweeps 3
mount_up "$mnt"
compared() {
    [ ! -e "$mnt/old" ] || fail "a deleted directory is shown: $(ls "$mnt/old")"
    [ -z "$(ls "$mnt" | grep -x old)" ] || fail "a deleted directory is listed: $(ls "$mnt")"
    sums "len(nodes) == 3 and all(n.get('aged_left') == 0 for n in nodes)" && kv status >/dev/null
}
wait_for 60 "it to be compared" compared
grep -q 'not in use for long, or is an older copy' "$dir/node3.log" || fail "the log says nothing"
[ ! -e "$mnt/old" ] || fail "a deleted directory is back"
pass
