#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The virtual files in .kith over a cluster in memory: found and never listed, not to be changed, at
# once when nothing else answers; a log that waits, is left out where its reader is slow, and ends with
# the mount. test_control_nodes.sh has real nodes.
. "$(dirname "$0")/lib.sh"

kith=$mnt/.kith
# refused ERROR COMMAND...
refused() {
    local want=$1 out
    shift
    if out=$("$@" 2>&1); then
        fail "$* was done"
    fi
    case "$out" in *"$want"*) ;; *) fail "$*: $out" ;; esac
}
# at_once COMMAND...: within two seconds; its output
at_once() {
    timeout 2 "$@" || fail "$*: $?" >&2
}
stat_of() { # METRIC: its value, 0 where it is not there yet
    local value
    value=$(grep -F "$1 " "$kith/stats" | grep -v '^#' | cut -d' ' -f2)
    echo "${value:-0}"
}

fake_up
[ "$(ls -A "$mnt")" = "" ] || fail "listed: $(ls -A "$mnt")"
[ "$(ls "$kith" | tr '\n' ' ')" = "accesslog conflicts stats status " ] || fail "$(ls "$kith")"
[ "$(ls -a "$kith" | wc -l)" = 6 ] || fail "$(ls -a "$kith")"
[ "$(stat -c '%A %U' "$kith" "$kith/status" "$kith/stats" "$kith/conflicts" "$kith/accesslog")" = \
    "dr-xr-xr-x $(id -un)
-r--r--r-- $(id -un)
-r--r--r-- $(id -un)
-r-------- $(id -un)
-r-------- $(id -un)" ] || fail "$(ls -la "$kith")"
numbers=$(stat -c %i "$kith" "$kith"/*)
[ "$(echo "$numbers" | sort -u | wc -l)" = 5 ] || fail "inode numbers: $numbers"

# nothing there is made, changed or removed
mkdir "$mnt/d"
echo x >"$mnt/f"
refused "File exists" mkdir "$kith"
refused "File exists" ln -sT x "$kith"
refused "Is a directory" sh -c "echo x >'$kith'"
refused "not permitted" rmdir "$kith"
refused "not permitted" mv "$kith" "$mnt/away"
refused "not permitted" mv -T "$mnt/d" "$kith"
refused "not permitted" mv "$mnt/f" "$kith/f"
refused "not permitted" mv "$kith/status" "$mnt/s"
refused "not permitted" sh -c "echo x >'$kith/status'"
refused "not permitted" sh -c "echo x >'$kith/new'"
refused "not permitted" mkdir "$kith/new"
refused "not permitted" ln "$kith/status" "$mnt/s"
refused "not permitted" ln "$mnt/f" "$kith/f"
refused "not permitted" rm -f "$kith/stats"
refused "not permitted" truncate -s 0 "$kith/status"
refused "not permitted" chmod 777 "$kith"
refused "not permitted" chown 1 "$kith/status"
refused "not permitted" touch "$kith/status"
refused "not permitted" /usr/bin/python3 -c 'import os, sys
os.setxattr(sys.argv[1], "user.a", b"b")' "$kith/status"
[ "$(/usr/bin/python3 -c 'import os, sys
print(os.listxattr(sys.argv[1]))' "$kith/status")" = "[]" ] || fail "attributes"
mkdir "$mnt/d/.kith" # elsewhere it is a name as any other
rmdir "$mnt/d/.kith"

# who goes through the tree does not meet it
echo y >"$mnt/d/g"
[ "$(cd "$mnt" && find . | LC_ALL=C sort | tr '\n' ' ')" = ". ./d ./d/g ./f " ] || fail "find"
rsync -a "$mnt/" "$work/copy/" || fail "rsync"
[ ! -e "$work/copy/.kith" ] || fail "rsync took it"
[ "$(tar -C "$mnt" -cf - . | tar -tf - | grep -c kith)" = 0 ] || fail "tar took it"
cp "$kith/status" "$work/status" && cmp -s "$work/status" <(cat "$work/status") || fail "cp"
[ -s "$work/status" ] || fail "an empty copy"
rm -rf "$mnt"/* "$mnt"/.??* || fail "rm -rf"
! rm -rf "$kith" 2>/dev/null || fail "rm -rf of it went well"
[ "$(find "$mnt" | wc -l)" = 1 ] || fail "left: $(find "$mnt")"
[ "$(stat -c %i "$kith" "$kith"/*)" = "$numbers" ] || fail "other inode numbers"

# counted: what was asked is there when its answer is
before=$(stat_of 'kithfs_requests_total{op="mkdir"}')
errors=$(stat_of 'kithfs_request_errors_total{op="lookup",error="ENOENT"}')
mkdir "$mnt/one" "$mnt/two"
! stat "$mnt/nothing" 2>/dev/null || fail "there is nothing"
[ "$(stat_of 'kithfs_requests_total{op="mkdir"}')" = $((before + 2)) ] || fail "mkdir is not counted"
[ "$(stat_of 'kithfs_request_errors_total{op="lookup",error="ENOENT"}')" -gt "$errors" ] ||
    fail "errors are not counted"
[ "$(stat_of 'kithfs_request_duration_seconds_count{op="mkdir"}')" = $((before + 2)) ] || fail "not timed"
bytes=$(stat_of kithfs_written_bytes_total)
head -c 5000 /dev/zero >"$mnt/one/zeros"
[ "$(stat_of kithfs_written_bytes_total)" = $((bytes + 5000)) ] || fail "written bytes"
[ "$(stat_of 'kithfs_calls_total{kind="put"}')" -gt 0 ] || fail "calls are not counted"
[ "$(stat_of kithfs_requests_in_progress)" = 0 ] || fail "under way: $(stat_of kithfs_requests_in_progress)"

# a write that cannot be stored: with its path, since when, and why; gone when it is stored
! grep -q "NOT STORED" "$kith/status" || fail "$(cat "$kith/status")"
exec 5>"$mnt/one/cut
off"
fake_fault refuse 0 1000000
echo late >&5
not_stored() {
    grep -A 9 "^NOT STORED" "$kith/status" | grep -q '^/one/cut\\x0aoff  20..-.*Z (.*)  *[0-9][0-9]*  *Input/output error'
}
wait_for 10 "the file under status" not_stored
grep -q "^Writes    go straight through, for the last one failed" "$kith/status" ||
    fail "$(cat "$kith/status")"
[ "$(stat_of kithfs_unput_files)" = 1 ] || fail "stats: $(stat_of kithfs_unput_files)"
fake_fault refuse 0 0
stored() {
    ! grep -q "NOT STORED" "$kith/status"
}
wait_for 10 "the file to be stored" stored
exec 5>&-
# removed before it could be: nothing is told of it any more
echo x >"$mnt/one/gone"
fake_fault refuse 0 1000000
exec 5>>"$mnt/one/gone"
! /usr/bin/python3 -c 'import os; os.write(5, b"y"); os.fsync(5)' 2>/dev/null || fail "fsync went well"
grep -q "^/one/gone  " "$kith/status" || fail "$(cat "$kith/status")"
fake_fault refuse 0 0
exec 5>&-
rm "$mnt/one/gone"
wait_for 10 "nothing to be told of a removed file" stored

# nobody answers: these do, and conflicts is interrupted
fake_word stop stopped
at_once ls -la "$kith" >"$work/ls"
at_once cat "$kith/status" >/dev/null
at_once cat "$kith/stats" >/dev/null
timeout 1 cat "$kith/accesslog" >/dev/null && fail "accesslog ended"
began=$SECONDS
timeout 1 cat "$kith/conflicts" >"$work/out" 2>&1 && fail "conflicts: $(cat "$work/out")"
[ $((SECONDS - began)) -lt 5 ] || fail "conflicts could not be interrupted"
[ ! -s "$work/out" ] || fail "told without having been read: $(cat "$work/out")"
fake_word go going
[ "$(at_once cat "$kith/conflicts")" = "No file is in conflict." ] || fail "conflicts"

# the log: each finished request, as long as somebody reads
timeout 60 cat "$kith/accesslog" >"$work/log" &
reader=$!
reads() { # a reader of the log: lines come to him
    stat "$mnt/nothing$RANDOM" 2>/dev/null
    [ -s "$1" ]
}
wait_for 10 "the log to be read" reads "$work/log"
mkdir "$mnt/with blank"
! rmdir "$mnt/one" 2>/dev/null || fail "rmdir of a full directory"
mv "$mnt/one/zeros" "$mnt/two/new"
dd if="$mnt/two/new" of=/dev/null iflag=direct bs=8k status=none
cat "$kith/status" >/dev/null # looking is not logged
has_line() {
    grep -qE "^20..-..-..T..:..:..\.[0-9]{6}Z $(id -u):$(id -g) [0-9]+ $1 [0-9]+\.[0-9]{6}\$" "$work/log"
}
for line in 'mkdir /with\\x20blank mode=0[0-7]{3} = 0' 'rmdir /one = ENOTEMPTY' \
    'rename /one/zeros to /two/new.* = 0' 'read /two/new size=[0-9]+ offset=0 = 5000'; do
    wait_for 10 "the line $line" has_line "$line"
done
! grep -qE "status|accesslog" "$work/log" || fail "the log tells of itself"
kill $reader
wait $reader && fail "the reader was not interrupted"

# tail -f, head, and who does not wait
timeout 20 tail -f "$kith/accesslog" >"$work/tail" &
reader=$!
wait_for 10 "tail -f to tell lines" reads "$work/tail"
kill $reader
wait $reader 2>/dev/null || true
(sleep 0.2 && ls "$mnt" >/dev/null && ls "$mnt/two" >/dev/null) &
[ "$(timeout 10 cat "$kith/accesslog" | head -n 1 | wc -l)" = 1 ] || fail "head"
wait $!
timeout 30 /usr/bin/python3 - "$mnt" <<'END' || fail "poll, O_NONBLOCK, and reads elsewhere"
import errno, os, select, sys, threading, time
mnt = sys.argv[1]
fd = os.open(mnt + "/.kith/accesslog", os.O_RDONLY | os.O_NONBLOCK)
try:
    os.read(fd, 100)
    sys.exit("there was nothing to read")
except BlockingIOError:
    pass
poll = select.poll()
poll.register(fd, select.POLLIN)
assert poll.poll(100) == [], "ready for nothing"
threading.Timer(0.3, lambda: os.listdir(mnt)).start()
began = time.monotonic()
assert poll.poll(10000) != [], "a line was not told"
assert time.monotonic() - began < 5, "told late"
assert b"readdir" in os.read(fd, 100000) + b"readdir", "no line"
log = os.open(mnt + "/.kith/accesslog", os.O_RDONLY) # as tail -f: the past is not kept,
size = os.fstat(log).st_size
assert size > 8192 and os.pread(log, 8192, size - 8192) == b"", "the past"
os.lseek(log, size - 8192, os.SEEK_SET) # and what comes is told from there on
threading.Timer(0.3, lambda: os.listdir(mnt)).start()
assert b" = " in os.read(log, 8192), "no line"
file = os.open(mnt + "/.kith/status", os.O_RDONLY)
poll.register(file, select.POLLIN)
assert any(f == file for f, _ in poll.poll(1000)), "a file that is always ready"
END

# a reader who is slow: what he missed is said, and costs no memory
exec 6<"$kith/accesslog"
/usr/bin/python3 -c 'import os, sys
for i in range(20000):
    try:
        os.stat("%s/nothing-of-this-name-%d" % (sys.argv[1], i))
    except FileNotFoundError:
        pass' "$mnt"
/usr/bin/python3 -c 'import os
data, part = b"", b"x"
os.set_blocking(6, False)
while True:
    try:
        part = os.read(6, 65536)
    except BlockingIOError:
        break
    data += part
lines = data.decode().splitlines()
told = [int(l.split()[1]) for l in lines if l.startswith("... ")]
assert len(told) == 1 and lines[-1].endswith("lines left out"), (told, lines[-1])
assert all(l.count(" = ") == 1 for l in lines if not l.startswith("... ")), "a line was cut"
assert len(lines) - 1 + told[0] >= 20000, (len(lines), told)
assert len(data) <= 1 << 20, len(data)
' || fail "a slow reader"
exec 6<&-
[ "$(stat_of kithfs_requests_untimed_total)" = 0 ] || fail "requests were not timed"

# no more readers than there is memory for: eight (a handle is released a moment after its end)
/usr/bin/python3 - "$kith/accesslog" <<'END' || fail "the number of readers"
import errno, os, sys, time
count, deadline = 0, time.monotonic() + 20
while count < 8 and time.monotonic() < deadline:
    handles = []
    try:
        while len(handles) < 20:
            handles.append(os.open(sys.argv[1], os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EBUSY, error
    count = len(handles)
    for handle in handles:
        os.close(handle)
assert count == 8, count
END

# the end: a reader keeps nobody from unmounting lazily, and gets the end of the file
timeout 60 cat "$kith/accesslog" >"$work/last" &
reader=$!
wait_for 10 "the log to be read" reads "$work/last"
fusermount3 -uz "$mnt"
wait_for 10 "the reader to end" gone $reader
wait $reader || fail "the reader ended with $?"
wait "$fake_pid" || fail "the mount ended with $?: $(tail -n 5 "$fake_log")"
rm "$work/fake.pid" "$work/fake.in"

# and by a signal
fake_up
timeout 60 cat "$kith/accesslog" >"$work/last" &
reader=$!
wait_for 10 "the log to be read" reads "$work/last"
kill -TERM "$fake_pid"
wait $reader || true # its mount is gone: the end, or ENOTCONN
wait "$fake_pid" || fail "the mount ended with $?: $(tail -n 5 "$fake_log")"
rm "$work/fake.pid" "$work/fake.in"

# without it, the name is as any other; and what was made so is hidden, in listings too
fake_up 0 nocontrol
[ ! -e "$kith" ] || fail "it is there in spite of nocontrol"
mkdir "$kith" && echo real >"$kith/status" || fail "it cannot be made"
[ "$(ls -A "$mnt")" = .kith ] || fail "not listed: $(ls -A "$mnt")"
fake_down
pass
