#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Nodes are upgraded one by one while a mount works: those of two releases that follow each other work
# together. One that is further away is refused, and both sides say why; a mount and kithctl that have
# no version in common with a node say so.
#   next    speaks versions 1 and 2 of the protocol
#   later   2 and 3
. "$(dirname "$0")/lib.sh"
need_fuse

# run_as PROGRAM N: node N is stopped, and started again as that program, as it was started
run_as() {
    local pid words
    pid=$(node_pid "$2")
    mapfile -d '' -t words <"/proc/$pid/cmdline"
    kill "$pid"
    wait_for 20 "node $2 to end" gone "$pid"
    "$1" "${words[@]:1}" >>"$dir/node$2.log" 2>&1 &
    wait_for 20 "node $2 to start again" runs "$2" "$pid"
}
# runs N PID: it has a process, another one
runs() {
    local pid
    pid=$(node_pid "$1") && [ "$pid" != "$2" ] && kill -0 "$pid"
}
next=$KITH_BIN/tests/integration/next/kithd
later=$KITH_BIN/tests/integration/later/kithd

cluster_up 3
mount_up
# a writer that never stops: each file whole and synced before it counts
/usr/bin/python3 - "$mnt" "$work" <<'END' &
import os, sys
mnt, work = sys.argv[1], sys.argv[2]
number = 0
with open(work + "/written", "w", buffering=1) as written:
    while not os.path.exists(work + "/stop"):
        name = "f%06d" % number
        with open(mnt + "/" + name, "w") as file:
            file.write("text %d\n" % number)
            file.flush()
            os.fsync(file.fileno())
        written.write(name + "\n")
        number += 1
END
writer=$!
echo $writer >"$work/writer.pid"
wrote() { # since COUNT
    [ "$(wc -l <"$work/written")" -gt "$1" ]
}
more() {
    kill -0 $writer || fail "the writer failed"
    wait_for 20 "more to be written" wrote "$(wc -l <"$work/written")"
}
wait_for 20 "the writer" wrote 0
for n in 1 2 3; do
    say "node $n speaks the next version"
    run_as "$next" $n
    nodes_up
    more
done
say "and node 2 the one before again"
run_as "$KITH_BIN/kithd" 2
nodes_up
more

touch "$work/stop"
wait $writer || fail "the writer failed"
rm "$work/writer.pid"
mount_down
mount_up
while read -r name; do
    grep -q '^text ' "$mnt/$name" || fail "$name is lost"
done <"$work/written"
say "$(wc -l <"$work/written") files were written meanwhile, and are there"
grep -h "connection closed: .*speaks" "$dir"/*.log && fail "refused"

say "one that is too far away: node 2 speaks version 1, node 3 versions 2 and 3, node 1 versions 1 and 2"
run_as "$later" 3
said() { # N REGEXP
    grep -Eq "$2" "$dir/node$1.log"
}
wait_for 20 "node 2 to say why" said 2 \
    "speaks protocol versions 2 to 3, 127.0.0.1:[0-9]+ speaks protocol version 1; upgrade 127.0.0.1:"
wait_for 20 "node 3 to say why" said 3 \
    "speaks protocol version 1, 127.0.0.1:[0-9]+ speaks protocol versions 2 to 3; upgrade 127.0.0.1:"
! said 1 "connection closed: .*speaks" || fail "node 1 refused"
[ "$(cat "$mnt/f000000")" = "text 0" ] || fail "not read"
echo more >"$mnt/more" # node 1 and node 2 go on
rc=0
kithctl status --servers "$(cat "$dir/node3/address")" >"$work/told" 2>&1 || rc=$?
[ $rc -ne 0 ] && grep -q "speaks protocol versions 2 to 3, this kithctl speaks protocol version 1; upgrade" \
    "$work/told" || fail "kithctl, $rc: $(cat "$work/told")"
mkdir "$work/mnt3"
rc=0
kithfs "$(cat "$dir/node3/address"):/" "$work/mnt3" -o mount_timeout=3 >"$work/told" 2>&1 || rc=$?
[ $rc -ne 0 ] && grep -q "speaks protocol versions 2 to 3, this client speaks protocol version 1; upgrade" \
    "$work/told" || fail "kithfs, $rc: $(cat "$work/told")"

say "node 3 is taken back: all is well again"
run_as "$next" 3
nodes_up
[ "$(cat "$mnt/more")" = more ] || fail "not read"
pass
