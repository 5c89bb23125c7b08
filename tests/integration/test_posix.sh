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
