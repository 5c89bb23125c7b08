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

# so many rounds of syncs
synced() {
    [ -f "$work/stop.rounds" ] && [ "$(cat "$work/stop.rounds")" -ge "$1" ]
}

for fault in KILL STOP; do
    for n in 1 2 3; do
        place=$fault$n
        rm -f "$work/stop" "$work/stop.rounds"
        pids=
        for kind in files sync; do
            /usr/bin/python3 "$here/stall.py" $kind "$mnt/$place$([ $kind = files ] || echo .$kind)" \
                "$work/stop" >"$work/$kind.out" 2>"$work/$kind.log" &
            pids="$pids $!"
        done
        wait_for 60 "work to be under way" progress "$place"
        wait_for 60 "syncs to be under way" synced 3
        victim=$(node_pid $n)
        kill -$fault "$victim"
        wait_for 60 "work to go on with node$n gone ($fault)" \
            beyond "$place" $(($(now_at "$place") + 200))
        wait_for 60 "syncs to go on with node$n gone ($fault)" \
            synced $(($(cat "$work/stop.rounds") + 30))
        touch "$work/stop"
        for pid in $pids; do
            wait $pid || fail "an operation failed with node$n gone ($fault):" \
                "$(tail -n 3 "$work/files.log" "$work/sync.log")"
        done
        for kind in files sync; do
            read -r operations longest <"$work/$kind.out"
            say "$fault node$n, $kind: $operations operations, the longest $longest ms"
            [ "$longest" -le $limit_ms ] || fail "a stall of $longest ms with node$n gone ($fault)"
        done
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
