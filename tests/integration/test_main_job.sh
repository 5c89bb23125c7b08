#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The main job at its full size: /usr/include by cp -a and /usr/share/doc by tar are the same after
# unmounting, stopping the whole cluster and starting it again. With KITH_FULL=1 once more while
# nodes are killed with SIGKILL and started again in the middle: nobody sees an error, nothing
# differs. KITH_SEED chooses whom and when.
. "$(dirname "$0")/lib.sh"
need_fuse
RANDOM=${KITH_SEED:=$RANDOM}
doc=/usr/share/doc

# quiet WHAT COMMAND...: succeeds and says nothing on stderr
quiet() {
    local what=$1
    shift
    "$@" 2>"$work/quiet.log" || fail "$what failed: $(head -n 5 "$work/quiet.log")"
    [ ! -s "$work/quiet.log" ] || fail "$what said: $(head -n 5 "$work/quiet.log")"
}
by_tar() {
    set -o pipefail
    mkdir "$1"
    tar -cf - -C $doc . | tar -xf - -C "$1"
}
copied() {
    [ "$(find "$1" 2>/dev/null | wc -l)" -ge "$2" ]
}
# disturb SOURCE COPY: while the copy grows, a node dies at a random point and comes back at a later
# one
disturb() {
    local all victim down up
    all=$(find "$1" | wc -l)
    victim=$((RANDOM % 3 + 1))
    down=$((all * (RANDOM % 40 + 5) / 100))
    up=$((down + all * (RANDOM % 40 + 5) / 100))
    wait_for 120 "$down of $all to be in $2" copied "$2" $down
    say "killing node$victim at $down of $all"
    node_kill $victim
    wait_for 120 "$up of $all to be in $2" copied "$2" $up
    say "starting node$victim at $up of $all"
    cluster_up 3
}
restart_all() {
    mount_down
    cluster_down
    cluster_up 3
    mount_up
}
compare() {
    same_tree /usr/include "$1/include"
    same_tree $doc "$1/doc"
}

cluster_up 3
mount_up
mkdir "$mnt/plain"
say "cp -a /usr/include"
quiet "cp" cp -a /usr/include "$mnt/plain/"
say "tar of $doc"
quiet "tar" by_tar "$mnt/plain/doc"
say "after unmounting and restarting everything"
restart_all
compare "$mnt/plain"

if [ "${KITH_FULL:-0}" = 1 ]; then
    say "nodes die: KITH_SEED=$KITH_SEED"
    mkdir "$mnt/killed"
    (quiet "cp" cp -a /usr/include "$mnt/killed/") &
    job=$!
    disturb /usr/include "$mnt/killed/include"
    wait $job || fail "see above"
    (quiet "tar" by_tar "$mnt/killed/doc") &
    job=$!
    disturb $doc "$mnt/killed/doc"
    wait $job || fail "see above"
    compare "$mnt/killed"
    say "after unmounting and restarting everything"
    restart_all
    compare "$mnt/killed"
fi
mount_down
pass
