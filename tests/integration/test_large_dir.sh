#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A directory of more names than a mount keeps: every listing is whole, what is there is found, what
# is not there is not, and memory stays bounded. So it does in a walk over as many files in many
# directories, all of which the kernel gets to know; who works in a directory meanwhile keeps it. Who
# goes on asking for names is answered from memory in the end, and sees what others change. With
# KITH_FULL=1: and in a walk over 1,000,000 files of one directory.
. "$(dirname "$0")/lib.sh"
need_fuse
fill=$KITH_BIN/tests/bench/dir_fill
[ -x "$fill" ] || skip "no $fill: it is built with the benchmarks"

count=600000
bound=400 # MiB; the table with its names takes some 270; 600,000 without a bound take more
cluster_up 3
mount_up "$mnt" "pid_file=$work/kithfs.pid"
mkdir "$mnt/large" "$mnt/here"
"$fill" "$servers" $count large || fail "the directory was not filled"

bounded() {
    local most
    most=$(awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/$(cat "$work/kithfs.pid")/status")
    say "$1: kithfs takes $most MiB at most"
    [ "$most" -le $bound ] || fail "$1: kithfs takes $most MiB"
}
for round in 1 2 3; do
    listed=$(ls -f "$mnt/large" | wc -l)
    [ "$listed" = $((count + 2)) ] || fail "listing $round has $listed lines of $((count + 2))"
    /usr/bin/python3 - "$mnt/large" $count $round <<'EOF' || fail "after listing $round"
import os, random, sys
top, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
for i in rng.sample(range(count), 3000):
    os.lstat(f"{top}/f{i:07}")
for i in range(100):
    assert not os.path.lexists(f"{top}/g{i}"), i
EOF
done
bounded "listings"

# many questions in a fresh mount: in the end none needs a request
mount_down
mount_up "$mnt" "pid_file=$work/kithfs.pid"
mount_up "$other"
requests() {
    awk '/^kithfs_calls_total{kind="(get|scan)"}/ {sum += $2} END {print sum}' "$mnt/.kith/stats"
}
# ask SEED COUNT: names that are there, and as many that are not
ask() {
    /usr/bin/python3 - "$mnt/large" $count "$1" "$2" <<'EOF' || fail "names were looked up"
import os, random, sys
top, (count, seed, names) = sys.argv[1], map(int, sys.argv[2:])
for i in random.Random(seed).sample(range(count), names):
    os.lstat(f"{top}/f{i:07}")
    assert not os.path.lexists(f"{top}/m{i:07}"), i
EOF
}
known() {
    local before
    ask $((++seed)) 2000
    before=$(requests)
    ask $((++seed)) 1000
    [ $(($(requests) - before)) -lt 20 ]
}
seed=100
wait_for 90 "the directory to be known" known
bounded "lookups"
rm "$other/large/f0123456"
echo text >"$other/large/m0123456"
mv "$other/large/f0234567" "$other/large/m0234567"
wait_for 5 "a removed name to be gone" test ! -e "$mnt/large/f0123456"
wait_for 5 "a new file" grep -q text "$mnt/large/m0123456"
wait_for 5 "a moved name to be gone" test ! -e "$mnt/large/f0234567"
wait_for 5 "a moved name" test -e "$mnt/large/m0234567"
mv "$other/large/m0234567" "$other/large/f0234567"
rm "$other/large/m0123456"
: >"$other/large/f0123456"
mount_down "$other"

mkdir "$mnt/tree"
(cd "$mnt/tree" && mkdir $(seq 600)) || fail "the directories of the tree"
# shellcheck disable=SC2046
"$fill" "$servers" 1000 $(seq -f tree/%g 600) || fail "the tree was not filled"
cd "$mnt/here"
found=$(find "$mnt/tree" -type f -size -5k -printf x | wc -c)
[ "$found" = $count ] || fail "find met $found files"
bounded "a walk"
/usr/bin/python3 -c 'import os; os.getcwd()' || fail "the working directory has no path any more"
cd "$work"

# changes at both ends and in the middle, seen in the listing
for i in 0000000 0300000 0599999; do
    rm "$mnt/large/f$i"
    echo text >"$mnt/large/n$i"
    [ "$(cat "$mnt/large/n$i")" = text ] || fail "n$i"
done
[ "$(ls -f "$mnt/large" | grep -c '^n')" = 3 ] || fail "new names in the listing"
[ "$(ls -f "$mnt/large" | wc -l)" = $((count + 2)) ] || fail "the listing after changes"

# the kernel forgets, and the memory goes
forgotten() {
    [ "$(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$(cat "$work/kithfs.pid")/status")" -le 130 ]
}
echo 2 >/proc/sys/vm/drop_caches
wait_for 90 "kithfs to give its memory back" forgotten

if [ "${KITH_FULL:-0}" = 1 ]; then
    count=1000000 bound=512
    mount_down
    mount_up "$mnt" "pid_file=$work/kithfs.pid"
    mkdir "$mnt/million"
    "$fill" "$servers" $count million || fail "the directory of $count was not filled"
    "$KITH_TOP/tests/bench/dir_size.py" walk "$mnt" million $count || fail "the walk"
    bounded "a walk over one directory"
fi
mount_down
pass
