#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who goes through a directory that is too large to be loaded, in the order of its names, sends few
# requests: each brings the names behind the one that is asked for. Who asks in no order sends no
# more than one for each name; what another mount changes is seen, and what is not there is not found.
. "$(dirname "$0")/lib.sh"
need_fuse
fill=$KITH_BIN/tests/bench/dir_fill
[ -x "$fill" ] || skip "no $fill: it is built with the benchmarks"
count=60000

requests() {
    awk '/^kithfs_calls_total\{kind="(get|scan)"/ { sum += $2 } END { print sum }' "$mnt/.kith/stats"
}
# few WHAT MOST COMMAND...: which sends no more requests than that
few() {
    local what=$1 most=$2 before took from=$SECONDS
    shift 2
    before=$(requests)
    "$@" || fail "$what"
    took=$(($(requests) - before))
    say "$what: $took requests"
    # the mount's root, which is in no directory, is asked for each second
    [ $took -le $((most + SECONDS - from + 2)) ] || fail "$what: $took requests"
}
fresh() {
    mount_down
    mount_up "$mnt"
}
# stat_some FIRST COUNT PROCESSES: one after the other, in order
stat_some() {
    /usr/bin/python3 - "$mnt/large" "$@" <<'END'
import os, sys
top, (first, count, processes) = sys.argv[1], map(int, sys.argv[2:])
children = []
for k in range(processes):
    pid = os.fork()
    if pid == 0:
        for i in range(first + k, first + count, processes):
            os.lstat(f"{top}/f{i:07}")
        os._exit(0)
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
END
}
stat_shuffled() {
    /usr/bin/python3 - "$mnt/large" $count "$1" <<'END'
import os, random, sys
top, (count, names) = sys.argv[1], map(int, sys.argv[2:])
for i in random.Random(5).sample(range(20000, count), names):
    os.lstat(f"{top}/f{i:07}")
END
}
make_new() {
    /usr/bin/python3 - "$mnt/large" <<'END'
import os, sys
for i in range(500):
    os.close(os.open(f"{sys.argv[1]}/f{25000 + i:07}new", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
END
}

cluster_up 3
mount_up "$mnt"
mkdir "$mnt/large"
"$fill" "$servers" $count large || fail "the directory was not filled"
fresh
few "1,000 names in order" 60 stat_some 30000 1000 1
few "20,000 names in order" 80 stat_some 31000 20000 1
fresh
few "3,000 names in order, by three at once" 300 stat_some 30000 3000 3
fresh
few "500 names in no order" 545 stat_shuffled 500 # and 16 pages in vain
few "5,000 names in order after that" 300 stat_some 50000 5000 1
fresh
few "500 new names" 560 make_new
few "1,000 names, half of them the new ones" 300 sh -c "stat '$mnt/large'/f0025[0-4]* >/dev/null"

# what was brought is true, and stays so
fresh
mount_up "$other"
stat_some 30000 1000 1 || fail "names were looked up"
[ ! -e "$mnt/large/f0030500x" ] || fail "a name is there"
rm "$other/large/f0031010"
echo text >"$other/large/f0030500x"
chmod 600 "$other/large/f0031011"
mv "$other/large/f0031012" "$other/large/f0031012x"
wait_for 5 "a removed name to be gone" test ! -e "$mnt/large/f0031010"
wait_for 5 "a new file" grep -q text "$mnt/large/f0030500x"
mode_is() {
    [ "$(stat -c %a "$mnt/large/f0031011")" = 600 ]
}
wait_for 5 "another mode" mode_is
wait_for 5 "a moved name to be gone" test ! -e "$mnt/large/f0031012"
wait_for 5 "a moved name" test -e "$mnt/large/f0031012x"

listed=$(LC_ALL=C ls -l "$mnt/large" | awk 'NR > 1 { print $9 }' | LC_ALL=C sort -c && echo sorted)
[ "$listed" = sorted ] || fail "ls -l"
/usr/bin/python3 - "$mnt/large" <<'END' || fail "names and what they lead to"
import os, sys
top = sys.argv[1]
for name in sorted(os.listdir(top)):
    os.lstat(f"{top}/{name}")
END
mount_down "$other"
mount_down
pass
