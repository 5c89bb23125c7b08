#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What programs expect of a filesystem, on the mount over a cluster in memory (no nodes are
# started).
. "$(dirname "$0")/lib.sh"

options=
[ "$(id -u)" != 0 ] || options=allow_other # metadata.py has steps of another user
for delay in 0 500; do
    fake_up "$delay" "$options"
    "$here/posix.py" "$mnt" || fail "requests that take $delay us"
    "$here/contents.py" "$mnt" || fail "contents, requests that take $delay us"
    "$here/metadata.py" "$mnt" || fail "metadata, requests that take $delay us"
    fake_down
done

# a page's worth of names that went comes before one that is there: listed by a mount that must ask
fake_up
/usr/bin/python3 - "$mnt" <<'END'
import os, sys
for i in range(1500):  # more than KITH_PAGE_ROWS_MAX
    hidden = f"{sys.argv[1]}/.{i:05d}.tmp"
    os.close(os.open(hidden, os.O_CREAT | os.O_WRONLY))
    os.rename(hidden, f"{sys.argv[1]}/x{i % 3}")
os.close(os.open(f"{sys.argv[1]}/z", os.O_CREAT | os.O_WRONLY))
END
fake_remount
[ "$(ls -A "$mnt" | paste -sd' ')" = "x0 x1 x2 z" ] || fail "listed: $(ls -A "$mnt" | head -n 5)"
fake_down

# the ctime that a change of names gives is stored with it
fake_up
mkdir "$mnt/sub" "$mnt/other"
for how in stored chmod pending; do
    exec 7>"$mnt/$how"
    [ $how = pending ] || exec 7>&-
    [ $how != chmod ] || { chmod 640 "$mnt/$how" && sync "$mnt/$how"; } # a row beside its own
    for name in linked away replaced twice far less back gone; do
        cp -p "$mnt/$how" "$mnt/$how.$name"
        ln "$mnt/$how.$name" "$mnt/$how.$name.2"
        [ $how != chmod ] || { chmod 644 "$mnt/$how.$name" && sync "$mnt/$how.$name"; }
    done
    ln "$mnt/$how.far" "$mnt/sub"
    ln "$mnt/$how.less" "$mnt/$how.less.3"
    ln "$mnt/$how.gone" "$mnt/sub"
    rm "$mnt/$how.less.2" "$mnt/$how.back.2" "$mnt/$how.gone.2"
    rm "$mnt/$how.linked.2"
    ln "$mnt/$how.away" "$mnt/sub/$how.away"
    rm "$mnt/$how.away.2"
    mv "$mnt/sub/$how.away" "$mnt/other"
    mv -T "$mnt/$how.linked" "$mnt/$how.replaced.2"
    mv "$mnt/$how" "$mnt/$how.moved"
    exec 7>&-
done
mv "$mnt/other" "$mnt/other2"
times() {
    (cd "$mnt" && find . -mindepth 1 ! -name sub -printf '%p %C@\n' | LC_ALL=C sort)
}
times >"$work/before"
fake_remount
times >"$work/after"
diff "$work/before" "$work/after" || fail "the times of the changes after another mount"
fake_down

# what is far from today, and attributes beyond what one page of a scan holds, are stored, too
fake_up
far() {
    /usr/bin/python3 - "$mnt" "$1" <<'END'
import os, sys
top, how = sys.argv[1:]
times = [s * 10**9 + 123_456_789 for s in (-(1 << 40), -(1 << 31) - 1, -1, 1 << 32, 1 << 40)]
for i, time in enumerate(times):
    for kind in ("file", "dir"):
        path = f"{top}/{kind}{i}"
        if how == "make":
            os.mkdir(path) if kind == "dir" else os.close(os.open(path, os.O_CREAT))
            os.utime(path, ns=(time, time + 1))
        s = os.stat(path)
        assert (s.st_atime_ns, s.st_mtime_ns) == (time, time + 1), (path, s)
path = top + "/attributes"
if how == "make":
    os.close(os.open(path, os.O_CREAT))
    for i in range(60):
        os.setxattr(path, f"user.{i:02}", b"%02d" % i * 8000)
    os.truncate(top + "/file0", 1 << 40)
    os.utime(top + "/file0", ns=(times[0], times[0] + 1))
assert sorted(os.listxattr(path)) == [f"user.{i:02}" for i in range(60)]
assert all(os.getxattr(path, f"user.{i:02}") == b"%02d" % i * 8000 for i in range(60))
assert os.stat(top + "/file0").st_size == 1 << 40
os.rename(path, path + "2")
assert len(os.listxattr(path + "2")) == 60
os.rename(path + "2", path)
END
}
far make || fail "what is far, as made"
fake_remount
far see || fail "what is far, by another mount"
fake_down

# what is said of a name that could not be made, and of a file that waits
fake_up
refused() { # NAME COMMAND...
    local name=$1
    shift
    fake_fault refuse 0 2 # a directory takes two puts
    ! "$@" "$mnt/$name" 2>"$work/said" || fail "$name was made without a put"
    fake_fault refuse 0 0
    [ ! -e "$mnt/$name" ] && [ ! -L "$mnt/$name" ] || fail "$name was refused and is there"
    grep -q "$name could not be made" "$fake_log" || fail "nothing is said of $name"
    ! grep "$name could not be stored" "$fake_log" || fail "$name was refused"
}
refused dir mkdir
refused fifo mkfifo
refused symlink ln -s to
refused file /usr/bin/python3 -c 'import os, sys; os.close(os.open(sys.argv[1], 65))'
echo text >"$mnt/waits"
fake_fault refuse 0 1
! /usr/bin/python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, b"more")
os.fsync(fd)' "$mnt/waits" 2>"$work/said" || fail "an fsync without a put"
grep -q "waits could not be stored yet" "$fake_log" || fail "nothing is said of what waits"
fake_down
pass
