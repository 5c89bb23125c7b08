#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The extended attribute user.kith.where: which nodes own a file, and what they have of its newest
# version: with all nodes up, one dead, one frozen, none left; with zones; not listed and not copied.
. "$(dirname "$0")/lib.sh"
need_fuse

where_of() { # FILE
    /usr/bin/python3 -c 'import os, sys
sys.stdout.buffer.write(os.getxattr(sys.argv[1], "user.kith.where"))' "$1"
}
says() { # FILE REGEXP
    where_of "$1" | grep -qE "$2"
}
wants() { # FILE REGEXP...
    local file=$1 line
    shift
    for line in "$@"; do
        says "$file" "$line" || fail "$file: no '$line' in: $(where_of "$file")"
    done
}
address() { # NODE
    cat "$dir/node$1/address"
}
everywhere() { # FILE
    says "$1" "^copies 3/3 zones 1/1 everywhere yes$"
}

cluster_up 3
mount_up "$mnt" "op_timeout=4"
echo small >"$mnt/small"
mkdir "$mnt/d"
head -c 5000000 /dev/urandom >"$mnt/large"
ln "$mnt/small" "$mnt/d/linked"
echo x >"$mnt/alone"
chmod 600 "$mnt/alone"
sync -f "$mnt/large"
for file in small large alone d d/linked .; do
    wait_for 20 "$file to be everywhere" everywhere "$mnt/$file"
done
wants "$mnt/small" "^node $(address 1) - whole rows [0-9]+/[0-9]+ chunks 0/0$" \
    "^node $(address 2) - whole " "^node $(address 3) - whole "
[ "$(where_of "$mnt/large" | grep -cE '^node .* whole rows ([0-9]+)/\1 chunks ([5-9])/\2$')" = 3 ] ||
    fail "$(where_of "$mnt/large")"
! where_of "$mnt/nothing" 2>/dev/null || fail "of nothing"

# as user.kith.versions: not listed, not set, and no trouble to who copies
[ "$(/usr/bin/python3 -c 'import os, sys; print(os.listxattr(sys.argv[1]))' "$mnt/small")" = "[]" ] ||
    fail "it is listed"
! /usr/bin/python3 -c 'import os, sys
os.setxattr(sys.argv[1], "user.kith.where", b"x")' "$mnt/small" 2>/dev/null || fail "it can be set"
cp -a "$mnt/large" "$mnt/copy" || fail "cp -a"
rsync -aX "$mnt/large" "$work/copy" || fail "rsync -X"
cmp "$mnt/large" "$work/copy" || fail "another copy"

# a node is dead: what it has is not known; what is written meanwhile it lacks when it is back
node_kill 3
dead() {
    says "$1" "^node $(address 3) - unknown "
}
wait_for 10 "node 3 to be unknown" dead "$mnt/small"
wants "$mnt/small" "^copies 2/3 zones 1/1 everywhere unknown$" "^node $(address 1) - whole " \
    "^node $(address 3) - unknown rows 0/[0-9]+ chunks 0/0$"
wants "$mnt/large" "^copies 2/3 .* unknown$"
head -c 3000000 /dev/urandom >"$mnt/later"
sync -f "$mnt/later"
wants "$mnt/later" "^copies 2/3 " "^node $(address 1) - whole rows .* chunks ([3-9])/\1$"

# another is frozen: said within the time of a request
kill -STOP "$(node_pid 2)"
frozen() {
    says "$1" "^node $(address 2) - unknown "
}
wait_for 20 "node 2 to be unknown" frozen "$mnt/small"
before=$(date +%s%N)
wants "$mnt/small" "^copies 1/3 zones 1/1 everywhere unknown$"
[ $((($(date +%s%N) - before) / 1000000)) -lt 4500 ] || fail "it took too long"
kill -CONT "$(node_pid 2)"
kill -STOP "$(node_pid 1)"
kill -KILL "$(node_pid 2)" "$(node_pid 1)"
wait_for 10 "all to be down" grep -q "^0 of 3 nodes" "$mnt/.kith/status"
none() { # of the root: the way to anything else cannot be asked for
    /usr/bin/python3 -c 'import os, sys
sys.stdout.buffer.write(os.getxattr(sys.argv[1], "user.kith.where"))' "$mnt" >"$work/none" 2>&1 &&
        grep -q "^copies 0/3 zones 0/1 everywhere unknown$" "$work/none"
}
wait_for 20 "an answer without a node" none
[ "$(grep -c '^node .* unknown ' "$work/none")" = 3 ] || fail "$(cat "$work/none")"
cluster_up 3
wait_for 60 "all to have what was written meanwhile" everywhere "$mnt/later"
umount "$mnt"
cluster_down

# two zones, of two nodes each: a copy in both, until one is gone
rm -rf "$dir"
mkdir "$dir"
cluster_up 4
nodes_up
for n in 1 2; do
    kv plan zone "$(address $n)" ams >/dev/null
    kv plan zone "$(address $((n + 2)))" fra >/dev/null
done
kv plan apply --wait >"$work/plan" 2>&1 || fail "$(cat "$work/plan")"
mount_up "$mnt" "op_timeout=4"
head -c 3000000 /dev/urandom >"$mnt/zones"
sync -f "$mnt/zones"
both() {
    says "$mnt/zones" "^copies 3/3 zones 2/2 everywhere yes$"
}
wait_for 20 "a copy in both zones" both
wants "$mnt/zones" "^node [^ ]+ ams whole " "^node [^ ]+ fra whole "
node_kill 3
node_kill 4
one_zone() {
    says "$mnt/zones" "^copies [12]/3 zones 1/2 everywhere unknown$"
}
wait_for 20 "fra to be missed" one_zone
umount "$mnt"
pass
