#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Random operations on a mount and on a local directory in lock step (fsmodel.py): on a quiet
# cluster; while one node after the other is killed and started again; and a second look through a
# fresh mount. KITH_SEED=N for other seeds, KITH_MODEL_SECONDS=S for longer runs, KITH_MODEL_KILLS=0
# without the kills.
. "$(dirname "$0")/lib.sh"
need_fuse

seconds=${KITH_MODEL_SECONDS:-15}
seed=${KITH_SEED:-1}
cluster_up 3

# model NAME SEED: in the background; its output in $work/NAME.log
model() {
    mkdir -p "$work/local/$1" "$mnt/$1"
    /usr/bin/python3 "$here/fsmodel.py" "$mnt/$1" "$work/local/$1" --seed "$2" \
        --seconds "$seconds" --processes 2 >"$work/$1.log" 2>&1 &
    model_pid=$!
}
model_end() {
    wait $model_pid || fail "the mount and the model differ ($1): $(tail -n 60 "$work/$1.log")"
    grep operations "$work/$1.log" || true
}
check() {
    /usr/bin/python3 "$here/fsmodel.py" "$mnt/$1" "$work/local/$1" --processes 2 --check \
        >"$work/check.log" 2>&1 || fail "$1, read by a fresh mount: $(cat "$work/check.log")"
}
under_way() {
    [ -n "$(find "$work/local/$1/p0" -mindepth 1 -maxdepth 1 2>/dev/null | head -n 1)" ]
}
# worked NAME: since $work/mark, or it has ended
worked() {
    [ "$(find "$work/local/$1" -newer "$work/mark" | wc -l)" -ge 20 ] ||
        ! kill -0 $model_pid 2>/dev/null
}

mount_up
say "seed $seed, nothing fails"
model quiet "$seed"
model_end quiet

kills=${KITH_MODEL_KILLS:-1}
if [ "$kills" = 1 ]; then
    say "seed $((seed + 1)), nodes are killed and started again"
    model kills $((seed + 1))
    wait_for 30 "operations to be under way" under_way kills
    n=1
    while kill -0 $model_pid 2>/dev/null; do
        node_kill $n
        touch "$work/mark"
        wait_for 30 "operations without node$n" worked kills
        cluster_up 3
        nodes_up
        n=$((n % 3 + 1))
    done
    model_end kills
fi
mount_down

mount_up
check quiet
[ "$kills" != 1 ] || check kills
mount_down
pass
