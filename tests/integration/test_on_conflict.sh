#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The program of -o on_conflict: it settles what two sides of a cut network have written, once and with
# the right words; what fails is told; what hangs is ended, and keeps neither the mount nor its end
# waiting. Some 30 s.
. "$(dirname "$0")/lib.sh"
need_fuse
export KITH_BIN

# what cannot be the program: refused before anything is asked of the cluster
refused() { # PROGRAM WORDS
    local out
    if out=$(kithfs 127.0.0.1:1:/ "$mnt" -o "on_conflict=$1" 2>&1); then
        fail "mounted with on_conflict=$1"
    fi
    case "$out" in *"on_conflict=$1"*"$2"*) ;; *) fail "on_conflict=$1: $out" ;; esac
    ! mountpoint -q "$mnt" || fail "$mnt is mounted"
}
: >"$work/plain"
refused "$work/nothing" "No such file"
refused "$work/plain" "chmod +x $work/plain"
refused "no-such-program" "in PATH"
refused "bin/hook" "absolute path"
printf '#!/bin/sh\n' >"$mnt/hidden" && chmod +x "$mnt/hidden"
refused "$mnt/hidden" "would hide it"
rm "$mnt/hidden"

# the two sides of a cut network
rc=0
/usr/bin/python3 "$here/conflicts/hook.py" "$work" || rc=$?
[ $rc = 77 ] || [ $rc = 0 ] || fail "see above"
[ $rc = 0 ] && say "settled" || say "no network namespaces here: not on two sides of a network"

# here what it does changes with the file `then`; found by its name in PATH
mkdir "$work/bin"
cat >"$work/bin/hook" <<END
#!/bin/sh
echo "\$# \$1 \$2" >>"$work/runs"
. "$work/then"
END
chmod +x "$work/bin/hook"
export PATH=$work/bin:$PATH
: >"$work/then"
: >"$work/runs"
log=$work/mnt.log

hook_up() { # [OPTIONS]
    : >"$log"
    mount_up "$mnt" "on_conflict=hook,hook_quiet=0.2${1:+,$1}"
}
# conflict NAME: another version beside it, which nobody has looked at
conflict() {
    echo old >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/$1"
    exec 7<>"$mnt/$1"
    echo "theirs, longer" >"$other/$1"
    echo mine >&7
    exec 7>&-
}
logged() {
    grep -qF -- "$1" "$log"
}
figure() { # NAME
    sed -n "s/^kithfs_hook_$1 //p" "$mnt/.kith/stats"
}
hook_runs() { # COUNT
    [ "$(wc -l <"$work/runs")" = "$1" ]
}
no_hook_left() {
    ! pgrep -f "$work/bin/hook" >/dev/null
}

cluster_up 3
mount_up "$other"

# it fails: told with its path, what it said and how it ended; once
hook_up
echo 'echo "cannot merge: $1" >&2; exit 3' >"$work/then"
conflict failing
wait_for 10 "the failure in the log" logged "$mnt/failing: $work/bin/hook ended with status 3"
logged "$mnt/failing: cannot merge: $mnt/failing" || fail "what it said: $(cat "$log")"
[[ "$(cat "$work/runs")" =~ ^2\ "$mnt"/failing\ "$mnt"/failing\.conflict-.*-[0-9a-f]{8}$ ]] ||
    fail "it was given: $(cat "$work/runs")"
ls -l "$mnt" >"$work/listing"
cat "$mnt/failing" >>"$work/listing"
[ "$(figure runs_total) $(figure failures_total)" = "1 1" ] || fail "$(grep hook "$mnt/.kith/stats")"
grep -q "last failure .*: $mnt/failing: ended with status 3" "$mnt/.kith/status" ||
    fail "$(cat "$mnt/.kith/status")"
say "failed"

# it takes too long: the mount goes on meanwhile, and afterwards
mount_down
hook_up hook_limit=1
wait_for 10 "the one that stands, again" eval "ls '$mnt' >'$work/listing'; hook_runs 2"
echo 'trap "" TERM; while :; do sleep 0.1; done' >"$work/then"
conflict hanging
wait_for 10 "it to hang" hook_runs 3
echo meanwhile >"$mnt/meanwhile"
grep -qx meanwhile "$mnt/meanwhile" || fail "the mount waits for it"
wait_for 10 "its end" logged "$mnt/hanging: $work/bin/hook took longer than 1 s, and was ended"
no_hook_left || fail "$(pgrep -af "$work/bin/hook")"
: >"$work/then"
conflict later
wait_for 10 "the next run" logged "$mnt/later: $work/bin/hook ended with status 0"
mount_down
say "ended"

# the mount ends while it runs
hook_up
wait_for 10 "those that stand, again" eval "ls '$mnt' >'$work/listing'; hook_runs 7"
pid=$(pgrep -f "kithfs.* $mnt ")
echo 'sleep 1000' >"$work/then"
conflict unmounted
wait_for 10 "it to run" hook_runs 8
mount_down
wait_for 5 "the mount's end" gone "$pid"
no_hook_left || fail "left behind: $(pgrep -af "$work/bin/hook")"
logged "the mount ends" || fail "$(tail -n 5 "$log")"
say "unmounted"

# the same where it hangs in a call to the mount, which no signal ends before the mount does
hook_up hard,dir_time=0.1,op_timeout=3
: >"$work/then"
wait_for 10 "those that stand, again" eval "ls '$mnt' >'$work/listing'; hook_runs 12"
pid=$(pgrep -f "kithfs.* $mnt ")
echo "cd \"\$KITH_MOUNT\"; : >'$work/reading'; while :; do ls -R . >/dev/null; cat * >/dev/null; done" >"$work/then"
conflict stuck
wait_for 10 "it to work in the mount" test -e "$work/reading"
wait_for 10 "nothing to be unsent" grep -q "^Unsent    0 files" "$mnt/.kith/status" # the end has no more to do
for n in 1 2 3; do kill -STOP "$(node_pid $n)"; done
sleep 1.5 # until what the mount remembers is over: there is nothing that tells of it
kill "$pid"
wait_for 25 "the mount's end" gone "$pid"
wait_for 5 "the end of what it ran" no_hook_left
for n in 1 2 3; do kill -CONT "$(node_pid $n)"; done
say "ended in a call"

# hidden versions have no names
: >"$work/runs"
: >"$work/then"
hook_up conflicts=hide
conflict hidden
wait_for 10 "the run" grep -qx "1 $mnt/hidden " "$work/runs"
mount_down
mount_down "$other"
pass
