#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All nodes are killed, or frozen. A soft mount ends every operation with an error by its deadline;
# at a hard one they wait, can be ended by ^C and kill -9, and those that wait on end with success by
# themselves when the nodes are back. Both can be unmounted; df and sync work.
. "$(dirname "$0")/lib.sh"
need_fuse
timeout_s=2
no_memory=attr_timeout=0,entry_timeout=0,nowatch,cache_size=1M,readahead=4k

go_on() { # KILL: they are started again
    if [ "$1" = KILL ]; then
        cluster_up 3
    else
        for n in 1 2 3; do kill -CONT "$(node_pid $n)"; done
    fi
    nodes_up
}
take_away() {
    for n in 1 2 3; do
        if [ "$1" = KILL ]; then
            node_kill $n
        else
            kill -STOP "$(node_pid $n)"
        fi
    done
}
# begin COUNT: processes that wait for $out/go
begin() {
    out=$work/out.$((++rounds))
    mkdir "$out"
    /usr/bin/python3 "$here/hard.py" run "$mnt/$out_top" "$1" "$out" >"$out.log" 2>&1 &
    wait_for 60 "the operations to be begun" grep -q ready "$out.log"
}
rounds=0
process_gone() {
    ! pgrep -f "kithfs $servers:/ $mnt " >/dev/null
}
made() {
    out_top=top.$1
    mkdir "$mnt/$out_top"
    /usr/bin/python3 "$here/hard.py" make "$mnt/$out_top" "$2" || fail "they cannot be made"
}

cluster_up 3
for fault in KILL STOP; do
    say "soft, nodes gone by SIG$fault"
    mount_up "$mnt" "op_timeout=$timeout_s"
    made soft$fault 1
    mount_down
    mount_up "$mnt" "op_timeout=$timeout_s,hard,soft,$no_memory"
    begin 1
    take_away $fault
    touch "$out/go"
    # an operation of several requests has as many deadlines
    /usr/bin/python3 "$here/hard.py" soft "$out" $((timeout_s * 4 + 2)) >"$work/soft.$fault" ||
        fail "soft, $fault"
    start=$SECONDS
    timeout 60 umount "$mnt" || fail "umount of a soft mount"
    wait_for 40 "the mount's process to end" process_gone
    say "unmounted after $((SECONDS - start)) s"
    go_on $fault

    say "hard, nodes gone by SIG$fault"
    mount_up "$mnt" "op_timeout=$timeout_s"
    made hard$fault 3
    mount_down
    mount_up "$mnt" "op_timeout=$timeout_s,hard,$no_memory"
    begin 3
    take_away $fault
    touch "$out/go"
    sleep $((timeout_s * 4 + 2)) # longer than a soft mount takes: there is nothing to wait for
    /usr/bin/python3 "$here/hard.py" waits "$out" || fail "hard, $fault: not all wait"
    grep -q "until the cluster answers (hard)" "$work/mnt.log" || fail "the log does not tell"
    /usr/bin/python3 "$here/hard.py" kill "$out" 0 INT || fail "hard, $fault, SIGINT"
    /usr/bin/python3 "$here/hard.py" kill "$out" 1 KILL || fail "hard, $fault, SIGKILL"
    /usr/bin/python3 "$here/hard.py" waits "$out" || fail "hard, $fault: not all wait any more"
    go_on $fault
    /usr/bin/python3 "$here/hard.py" "done" "$out" 2 "$mnt/$out_top" 30 ||
        fail "hard, $fault: not all ended well"
    mount_down
    mount_up # what they did is in the cluster
    /usr/bin/python3 "$here/hard.py" "done" "$out" 2 "$mnt/$out_top" 1 ||
        fail "hard, $fault: not all is stored"
    mount_down
done

say "a hard mount is unmounted while no node is there, and names what it gives up"
kithfs "$servers:/" "$mnt" -f -o "hard,op_timeout=$timeout_s,log=$work/end.log" &
mount_pid=$!
wait_for 10 "the mount" mountpoint -q "$mnt"
(
    exec 7>"$mnt/unsent"
    touch "$work/opened"
    while [ ! -e "$work/go" ]; do sleep 0.02; done
    echo lost >&7 # waits
) &
writer=$!
wait_for 10 "the file to be open" test -e "$work/opened"
take_away KILL
touch "$work/go"
wait_for 20 "requests to wait" grep -q "until the cluster answers (hard)" "$work/end.log"
kill -KILL $writer
wait_for 2 "the writer to end" gone $writer
start=$SECONDS
timeout 60 umount -l "$mnt" || fail "umount of a hard mount"
code=0
wait_for 45 "the mount to end" gone $mount_pid
wait $mount_pid || code=$?
say "ended with $code after $((SECONDS - start)) s"
[ $code -eq 1 ] || fail "it ended with $code"
grep -q unsent "$work/end.log" || fail "it does not name the file: $(cat "$work/end.log")"
pass
