#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# With one of three nodes killed, and then one frozen, reads and writes go on: no error, no stall
# above one second (the promise; the machine of the test is granted as much again).
. "$(dirname "$0")/lib.sh"
need_fuse

cluster_up 3
mount_up
limit_ms=2000
progress() {
    [ "$(find "$mnt/$1" -maxdepth 1 -type f 2>/dev/null | wc -l)" -ge 5 ]
}
# newest file's number has grown by N since it was N0
beyond() {
    local newest
    newest=$(now_at "$1" 2>/dev/null)
    [ "${newest:-0}" -ge "$2" ]
}
now_at() {
    find "$mnt/$1" -maxdepth 1 -name 'f*' -printf '%f\n' | tr -d f | sort -n | tail -n 1
}

for fault in KILL STOP; do
    for n in 1 2 3; do
        place=$fault$n
        rm -f "$work/stop"
        /usr/bin/python3 "$here/stall.py" "$mnt/$place" "$work/stop" \
            >"$work/stall.out" 2>"$work/stall.log" &
        pid=$!
        wait_for 60 "work to be under way" progress "$place"
        victim=$(node_pid $n)
        kill -$fault "$victim"
        wait_for 60 "work to go on with node$n gone ($fault)" \
            beyond "$place" $(($(now_at "$place") + 200))
        touch "$work/stop"
        wait $pid ||
            fail "an operation failed with node$n gone ($fault): $(tail -n 3 "$work/stall.log")"
        read -r operations longest <"$work/stall.out"
        say "$fault node$n: $operations operations, the longest $longest ms"
        [ "$longest" -le $limit_ms ] || fail "a stall of $longest ms with node$n gone ($fault)"
        if [ $fault = STOP ]; then
            kill -CONT "$victim"
        else
            cluster_up 3
        fi
        # the next fault must not meet a node that is still coming back
        nodes_up
    done
done
mount_down
pass
