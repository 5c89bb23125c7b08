# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# lib.sh - for the integration tests: a cluster in a folder of its own, a mount, waiting for
# conditions.
#
#   . "$(dirname "$0")/lib.sh"
#   cluster_up 3; mount_up; ...; pass
#
# Logs are kept and shown when a test fails. Everything that was started is ended on exit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KITH_TOP=${KITH_TOP:-$(cd "$here/../.." && pwd)}
KITH_BIN=${KITH_BIN:-$KITH_TOP/.build/release}
export PATH=$KITH_BIN:$PATH
export KITH_CERT= # whatever certificates lie in ~/.config/kithfs or /etc/kithfs

work=$(mktemp -d "${TMPDIR:-/tmp}/kith-test.XXXXXX")
dir=$work/cluster
mnt=$work/mnt
mkdir -p "$dir" "$mnt"
passed=no

say() {
    printf '%s %s\n' "$(date +%T)" "$*"
}
fail() {
    say "FAIL: $*"
    exit 1
}
pass() {
    passed=yes
    say "passed"
}
skip() {
    say "skipped: $*"
    passed=yes
    exit 77
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "waited in vain: $what"
        sleep 0.02
    done
}

cleanup() {
    local status=$?
    set +e
    [ -f "$work/fake.pid" ] && fake_kill
    for node in "$dir"/node*; do
        [ -f "$node/kithd.pid" ] && kill -CONT "$(cat "$node/kithd.pid")" 2>/dev/null
    done # first: who looks at a mount waits for them
    for m in "$work"/mnt*; do
        # a mount that may be dead is not asked anything; -f ends those who hang in it
        grep -q " $m " /proc/self/mountinfo || continue
        { [ $passed = yes ] && umount "$m" 2>/dev/null; } || umount -fl "$m" 2>/dev/null ||
            fusermount3 -uz "$m"
    done
    for pidfile in "$work"/*.pid; do
        [ -f "$pidfile" ] && kill "$(cat "$pidfile")" 2>/dev/null
    done
    kithctl local down "$dir" >/dev/null 2>&1
    for loop in "$work"/*.mounted; do
        [ -f "$loop" ] && umount "$(cat "$loop")"
    done
    if [ $passed != yes ]; then
        for log in "$dir"/*.log "$work"/*.log; do
            [ -s "$log" ] || continue
            echo "---- $log"
            tail -n 30 "$log"
        done
        [ $status -ne 0 ] || status=1
        if [ -n "${KITH_KEEP:-}" ]; then
            echo "kept: $work"
            exit $status
        fi
    fi
    rm -rf "$work"
    exit $status
}
trap cleanup EXIT

# cluster_up [NODES [OPTION...]]: starts (again) the nodes under $dir; sets $servers
cluster_up() {
    local more=("${@:2}")
    [ -e "$dir/cluster.json" ] || more+=(--insecure) # what is tested is not who may ask
    kithctl local up "$dir" --nodes "${1:-3}" "${more[@]}" >"$work/up.log" 2>&1 || {
        cat "$work/up.log"
        fail "kithctl local up"
    }
    servers=$(cat "$dir"/node*/address | paste -sd,)
}
cluster_down() {
    kithctl local down "$dir" >"$work/down.log" 2>&1 || {
        cat "$work/down.log"
        fail "kithctl local down"
    }
}
node_pid() {
    cat "$dir/node$1/kithd.pid"
}
# kv COMMAND...: kithctl, of this cluster
kv() {
    kithctl "$@" --servers "$servers"
}
# nodes_up: until the cluster says of itself that it is whole
nodes_up() {
    wait_for 30 "all nodes to be up" kithctl status --servers "$servers"
}
# node_kill N: SIGKILL and wait until it is gone
node_kill() {
    local pid
    pid=$(node_pid "$1")
    kill -KILL "$pid"
    wait_for 10 "node$1 to be gone" gone "$pid"
}
# One node of three after the other is killed and started again.
nodes_fall() {
    local n
    for n in 1 2 3; do
        node_kill $n
        cluster_up 3
    done
}
gone() {
    ! kill -0 "$1"
}

need_fuse() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
}
# mount_up [MOUNTPOINT] [OPTIONS]
mount_up() {
    local at=${1:-$mnt} name options=${2:-}
    name=$work/$(basename "$at")
    mkdir -p "$at"
    [[ $options = *pid_file=* ]] || options=${options:+$options,}pid_file=$name.serving
    kithfs "$servers:/" "$at" -o "log=$name.log,$options" || fail "kithfs did not mount at $at"
    mountpoint -q "$at" || fail "$at is no mount point"
}
# mount_down [MOUNTPOINT]: umount returns before the process has put what may wait (times and modes):
# until that is done, so that the next mount sees it
mount_down() {
    local at=${1:-$mnt} pid
    pid=$(cat "$work/$(basename "$at").serving" 2>/dev/null || true)
    umount "$at" || fail "umount $at"
    [ -z "$pid" ] || wait_for 60 "the process of the mount at $at to end" gone "$pid"
}
# two_mounts_up: of a cluster of three nodes, at $mnt and $other
other=$work/mnt2
two_mounts_up() {
    cluster_up 3
    mount_up
    mount_up "$other"
}
two_mounts_down() {
    mount_down
    mount_down "$other"
}
# read_again NAME...: until $mnt has read the rows of these files anew, as they are now, whatever it
# remembered: they get another mode at $other, which comes with the row.
marks=0
read_again() {
    local name mark
    for name in "$@"; do
        marks=$((marks + 1))
        mark=$(printf '6%02o' $((marks % 64)))
        chmod "$mark" "$other/$name"
        wait_for 10 "another mode of $name to be seen" has_mode "$mnt/$name" "$mark"
    done
}
has_mode() {
    [ "$(stat -c %a "$1")" = "$2" ]
}
# exchange A B: renameat2 with RENAME_EXCHANGE
exchange() {
    /usr/bin/python3 -c 'import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))' "$1" "$2"
}

# fake_up [DELAY_US [OPTIONS]]: a mount over a cluster in memory (fs_fake.c), where each request
# takes so long; no nodes are started. Sets $fake_pid; what it tells stands in $fake_log.
fake_log=$work/fake.log
fake_up() {
    local program=$KITH_BIN/tests/integration/fs_fake
    [ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"
    [ -x "$program" ] || fail "$program is not built"
    mkfifo "$work/fake.in"
    exec 8<>"$work/fake.in"
    : >"$fake_log" # that the one before was ready says nothing of this one
    "$program" "$mnt" "${1:-0}" ${2:+-o "$2"} <&8 >"$fake_log" 2>&1 &
    fake_pid=$!
    echo "$fake_pid" >"$work/fake.pid"
    mounts=1
    export KITH_FAKE=$work/fake.in:$fake_log # for fake.py
    wait_for 30 "the mount" fake_told ready $mounts
}
# fake_kill: after a failure, when it may wait for a cluster that was told to stop, and whoever asks
# it for anything with it
fake_kill() {
    kill -KILL "$(cat "$work/fake.pid")" 2>/dev/null
    rm "$work/fake.pid"
    fusermount3 -uz "$mnt"
}
fake_down() {
    fusermount3 -u "$mnt"
    wait "$fake_pid" || fail "the mount ended with $?: $(tail -n 5 "$fake_log")"
    rm "$work/fake.pid" "$work/fake.in"
}
# fake_remount: ends the mount and makes another one of the same cluster, which knows nothing yet:
# what it shows is in the cluster
fake_remount() {
    fake_word again again
    fusermount3 -u "$mnt" || fail "fusermount3 -u $mnt"
    mounts=$((mounts + 1))
    wait_for 30 "the mount to be back" fake_told ready $mounts
}
# fake_word LINE WORD: says it and waits until it was answered
fake_word() {
    local before
    before=$(grep -c "^$2" "$fake_log") || true
    echo "$1" >&8
    wait_for 10 "'$1' to be answered" fake_told "$2" $((before + 1))
}
# fake_signal SIGNAL WORD COUNT: sends it and waits until WORD was told COUNT times in all
fake_signal() {
    kill -"$1" "$fake_pid"
    wait_for 10 "the signal to be taken" fake_told "$2" "$3"
}
# fake_fault HOW AFTER COUNT: lose, drop or refuse puts to come, see fs_fake.c
fake_fault() {
    fake_word "$*" fault
}
# fake_rows: sets $rows, "FILES LINKS MARKS" in the cluster, see fs_fake.c
fake_rows() {
    fake_word rows rows
    rows=$(grep '^rows' "$fake_log" | tail -n 1 | cut -d' ' -f2-)
}
fake_told() {
    [ "$(grep -c "^$1" "$fake_log")" = "$2" ]
}

# same_tree A B: names, types, modes, owners, times, contents, hard links
same_tree() {
    local out
    out=$(diff -r --no-dereference "$1" "$2" 2>&1 | head -n 10) || true
    [ -z "$out" ] || fail "diff -r $1 $2: $out"
    out=$(rsync -aHnc --delete --itemize-changes "$1/" "$2/" 2>&1 | head -n 10) || true
    [ -z "$out" ] || fail "rsync -anc $1 $2: $out"
}
