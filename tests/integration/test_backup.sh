#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A cluster is backed up, with what has changed since, and by a run that is killed and gone on with; the
# whole cluster is lost; a new one gets it all back, the conflicts too, and twice is as once.
. "$(dirname "$0")/lib.sh"
need_fuse

saved=$work/saved
json() { # FILE EXPRESSION: of the document x in the file
    /usr/bin/python3 -c 'import json, sys
x = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$1" "$2"
}
backup() { # [OPTION...]: into $saved; what it says is in $work/run
    kv backup "$saved" --json "$@" >"$work/run" 2>"$work/said" || fail "backup: $(cat "$work/said")"
}
fails() { # TEXT COMMAND...: with that in what it says
    local text=$1
    shift
    ! "$@" >"$work/said" 2>&1 || fail "$* succeeds"
    grep -q "$text" "$work/said" || fail "$*: $(cat "$work/said")"
}
# lists write|check FILE: one of so many pieces that its chunks are named by chunks
lists() {
    /usr/bin/python3 -c 'import os, sys
fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
for i in range(1600):
    if sys.argv[1] == "write":
        os.pwrite(fd, b"%08d" % i * 600, i << 20)
    elif os.pread(fd, 4800, i << 20) != b"%08d" % i * 600:
        sys.exit("piece %d is another" % i)
os.fsync(fd)' "$@"
}
versions() {
    cat "$1/conflicted" "$1"/conflicted.conflict-* | sort
}

two_mounts_up
say "files of all kinds"
mkdir -p "$mnt/d/e"
echo small >"$mnt/d/small"
head -c 5000000 /dev/urandom >"$mnt/d/large"
truncate -s 3M "$mnt/d/hole"
cp "$mnt/d/large" "$mnt/d/e/copy"
ln "$mnt/d/small" "$mnt/d/e/second"
ln -s ../small "$mnt/d/e/link"
setfattr -n user.note -v "kept" "$mnt/d/small"
chmod 640 "$mnt/d/large"
touch -d '2001-02-03 04:05:06.789' "$mnt/d/large"
for i in $(seq 100); do echo "$i" >"$mnt/d/e/f$i"; done
echo before >"$mnt/conflicted"
wait_for 10 "the other mount to see it" grep -q before "$other/conflicted"
exec 7<>"$mnt/conflicted"
echo theirs >"$other/conflicted"
echo mine of >&7
exec 7>&-
lists write "$mnt/lists"
kv put plain value
kv put both one --blind
kv put both two --blind
mount_down "$other" & # it takes a while
ending=$!
[ "$(versions "$mnt" | wc -l)" = 2 ] || fail "no conflict: $(ls "$mnt")"

say "backup, and what has changed since"
backup
[ "$(json "$work/run" 'x["whole"] and x["run"] == 1 and x["new_chunks"] > 4')" = True ] || fail "$(cat "$work/run")"
nothing_new() {
    backup
    [ "$(json "$work/run" 'x["new_rows"] == 0 and x["new_chunks"] == 0 and x["rows"] > 100')" = True ]
}
wait_for 20 "a run that finds nothing new" nothing_new # mounts put times later
earlier=$(json "$work/run" 'x["run"]')
echo changed >"$mnt/d/e/f7"
rm "$mnt/d/e/f8" "$mnt/d/e/copy"
backup
[ "$(json "$work/run" '0 < x["new_rows"] < 12 and x["bytes_read"] < 200000')" = True ] || fail "$(cat "$work/run")"

say "a run that is killed is gone on with"
head -c 8000000 /dev/urandom >"$mnt/d/late"
for i in $(seq 50); do echo "$i" >"$mnt/d/e/g$i"; done
sync "$mnt/d/late"
before=$(du -sb "$saved/chunks" | cut -f1)
more_chunks() {
    [ "$(du -sb "$saved/chunks" | cut -f1)" -gt $((before + 1000000)) ]
}
kithctl backup "$saved" --limit 2M --servers "$servers" >/dev/null 2>&1 &
wait_for 20 "half of it" more_chunks
fails "in use" kv backup "$saved"
kill -KILL $!
wait $! 2>/dev/null || true
backup
[ "$(json "$work/run" 'x["whole"] and 0 < x["new_chunks"] < 8')" = True ] || fail "$(cat "$work/run")"
kithctl backup --check "$saved" >"$work/said" 2>&1 || fail "check: $(cat "$work/said")"

say "damage is named"
cp -r "$saved" "$work/hurt"
printf x | dd of="$work/hurt/chunks/000001" bs=1 seek=100000 conv=notrunc status=none
fails "chunks/000001 is damaged" kithctl backup --check "$work/hurt"
log=$(cd "$saved/rows" && find . -name '[0-9]*' -size +0 | sort | head -n 1)
cp "$saved/rows/$log" "$work/hurt/rows/$log"
printf x | dd of="$work/hurt/rows/$log" bs=1 seek=100 conv=notrunc status=none
fails "rows/${log#./} is damaged at byte" kv backup "$work/hurt"
mkdir "$work/else"
touch "$work/else/thing"
fails "is no backup" kithctl backup --check "$work/else"
fails "is no backup, and not empty" kv backup "$work/else"

say "the whole cluster is lost"
mkdir "$work/tree"
cp -a "$mnt/d" "$work/tree/d"
getfattr -d "$mnt/d/small" 2>/dev/null | tail -n +2 >"$work/attributes"
versions "$mnt" >"$work/versions"
wait $ending || fail "the other mount does not end"
mount_down # nobody writes any more
wait_for 20 "a run that finds nothing new" nothing_new
kv backup - >"$work/stream" 2>"$work/said" || fail "backup -: $(cat "$work/said")"
cluster_down
rm -rf "$dir"
mkdir "$dir"
cluster_up 3
fails "another cluster" kv backup "$saved"
kv restore "$saved" --json >"$work/run" 2>"$work/said" || fail "restore: $(cat "$work/said")"
[ "$(json "$work/run" 'x["rows"] == x["rows_written"] > 100 and x["chunks_written"] > 10')" = True ] || fail "$(cat "$work/run")"
kv restore "$saved" --json >"$work/run" 2>"$work/said" || fail "restore: $(cat "$work/said")"
[ "$(json "$work/run" 'x["rows_written"] + x["versions_written"] + x["chunks_written"]')" = 0 ] || fail "$(cat "$work/run")"
kv restore - <"$work/stream" >"$work/said" 2>&1 || fail "restore -: $(cat "$work/said")"
grep -q ' 0 of them and 0 chunks written' "$work/said" || fail "$(cat "$work/said")"
mount_up
same_tree "$work/tree/d" "$mnt/d"
getfattr -d "$mnt/d/small" 2>/dev/null | tail -n +2 | diff "$work/attributes" - || fail "other attributes"
versions "$mnt" | diff "$work/versions" - || fail "other versions"
lists check "$mnt/lists" || fail "lists"
[ "$(kv get plain)" = value ] || fail "another value"
fails "2 versions" kv get both

say "as of an earlier run, into a cluster that has gone on; and by a stream"
kv restore "$saved" --run "$earlier" >/dev/null
wait_for 10 "f8 to be back" test -e "$mnt/d/e/f8"
both_f7() {
    [ "$(cat "$mnt"/d/e/f7 "$mnt"/d/e/f7.conflict-* | sort | paste -sd,)" = 7,changed ]
}
wait_for 10 "both versions of f7" both_f7
mount_down
cluster_down
rm -rf "$dir"
mkdir "$dir"
cluster_up 3
head -c 3000000 "$work/stream" >"$work/short"
fails "ends too early" kv restore - <"$work/short"
kv restore - <"$work/stream" >"$work/said" 2>&1 || fail "restore -: $(cat "$work/said")"
kv restore "$saved" >"$work/said" 2>&1 || fail "restore: $(cat "$work/said")"
grep -q ' 0 of them and 0 chunks written' "$work/said" || fail "$(cat "$work/said")"

say "with two nodes of three, and with one"
rm -rf "$work/fewer"
node_kill 3
kv backup "$work/fewer" --json >"$work/run" 2>"$work/said" || fail "two of three: $(cat "$work/said")"
[ "$(json "$work/run" 'x["whole"] and x["forgotten"] == 0')" = True ] || fail "$(cat "$work/run")"
kv backup "$work/fewer" --keep 1 --json >"$work/run" 2>"$work/said" || fail "--keep: $(cat "$work/said")"
[ "$(json "$work/run" 'x["whole"] and x["forgotten"] == 1')" = True ] || fail "$(cat "$work/run")"
kithctl backup --check "$work/fewer" >"$work/said" 2>&1 || fail "check: $(cat "$work/said")"
fails "was forgotten" kv restore "$work/fewer" --run 1
fails "goes with a run" kithctl backup --check --keep 1 "$work/fewer"
fails "a stream is one run" kv backup - --keep 1
node_kill 2
fails "owners answered, 2 are needed" kv backup "$work/fewer" --timeout 2s
pass
