#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Watched directories: two mounts whose kernels and memories would keep names and attributes for 30
# s see each other's changes as soon as they are told; with a node killed as well, without a quorum
# no worse than a mount without watches, and again when the nodes are back. And the questions before
# new names, of lookups and of opens are really saved.
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
other=$work/mnt2
plain=$work/mnt3
long=entry_timeout=30,attr_timeout=30
mount_up "$mnt" $long,log_level=debug
mount_up "$other" $long
mount_up "$plain" nowatch

rounds() {
    /usr/bin/python3 "$here/watch.py" "$mnt" "$other" "$2" >"$work/rounds.log" 2>&1 ||
        fail "$1: $(cat "$work/rounds.log")"
    say "$1: $(cat "$work/rounds.log")"
}
rounds "three nodes" 5
# what a mount read while it could not watch, as just after a node's end, it keeps for its timeout of
# 30 s: so rounds in another directory follow those that met that
seen_again() {
    /usr/bin/python3 "$here/watch.py" "$mnt" "$other" 5 >"$work/rounds.log" 2>&1
}
node_kill 2
wait_for 90 "the watches with one node killed" seen_again
say "one node killed: $(cat "$work/rounds.log")"

say "without a quorum"
mkdir "$mnt/kept"
echo text >"$mnt/kept/file"
wait_for 10 "the file at the plain mount" grep -qx text "$plain/kept/file"
kept=$(printf 'directory %x' "$(stat -c %i "$mnt/kept")")
# kept_is WORD: what the mount said last of its watch of the directory, which each open looks at
kept_is() {
    grep -qx text "$mnt/kept/file" && grep "$kept: " "$work/mnt.log" | tail -n 1 | grep -q "$1"
}
wait_for 20 "a watch of the directory" kept_is live
cat "$mnt/kept/file" >"$work/read" # known from now on: an open asks the watch, not the cluster
node_kill 3
# what was known is asked for again, and answered by the one that is left
wait_for 20 "the watch to lapse" kept_is lapsed
for m in "$mnt" "$plain"; do
    [ "$(cat "$m/kept/file")" = text ] || fail "$m: a file that one node has cannot be read"
    echo more >"$m/kept/new.$(basename "$m")" || fail "$m: the one that is left takes no write"
done

cluster_up 3
nodes_up
writable() {
    echo again >"$mnt/kept/again"
}
wait_for 30 "writes to be taken again" writable
wait_for 90 "the watches to be back" seen_again
say "all nodes are back: $(cat "$work/rounds.log")"

say "what is saved"
mount_down "$other"
mount_down "$mnt"
rm "$work/mnt.log"
mount_up
/usr/bin/python3 - "$mnt" <<'EOP' || fail "300 files"
import os, sys
for d in range(3):
    top = f"{sys.argv[1]}/many{d}"
    os.mkdir(top)
    for i in range(100):
        fd = os.open(f"{top}/f{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, b"text")
        os.close(fd)
        os.close(os.open(f"{top}/f{i}", os.O_RDONLY))
EOP
mount_down
wait_for 20 "a line about watches in the log" grep -q "watch:" "$work/mnt.log"
line=$(grep "watch:" "$work/mnt.log")
say "$line"
saved() {
    sed -n "s/.* \([0-9]*\) $1.*/\1/p" <<<"$line"
}
[ "$(saved "new names")" -ge 280 ] || fail "questions before new names were not saved"
[ "$(saved opens)" -ge 250 ] || fail "the reads of opens were not saved"
mount_down "$plain"
pass
