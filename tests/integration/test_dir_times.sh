#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The time of change of a directory and the number of directories in it: the same at every mount some
# seconds after names were made, moved or removed in it, over remounts, and the time as it was set where
# somebody sets it.
. "$(dirname "$0")/lib.sh"
need_fuse

time_of() {
    stat -c %.9Y "$1"
}
# alike NAME: both mounts say the same of it
alike() {
    [ "$(time_of "$mnt/$1")" = "$(time_of "$other/$1")" ]
}
# later NAME TIME
later() {
    [[ "$(time_of "$1")" > "$2" ]]
}
two_mounts_up
mkdir -p "$mnt/d/e" "$mnt/d/f"
touch "$mnt/d/e/old"
wait_for 10 "one time of d" alike d
wait_for 10 "one time of d/e" alike d/e

n=0
# changes DIR COMMAND...: the directory has another time then, at both mounts, the same
changes() {
    local dir=$1 before now
    shift
    before=$(time_of "$mnt/$dir")
    "$@" || fail "$*"
    now=$(time_of "$mnt/$dir")
    later "$mnt/$dir" "$before" || fail "$* left the time of $dir at $before ($now)"
    wait_for 10 "one time of $dir after: $*" alike "$dir"
    [ "$(time_of "$other/$dir")" = "$now" ] || fail "$dir: $(time_of "$other/$dir"), not $now"
    n=$((n + 1))
}
changes d/e sh -c "echo a >'$mnt/d/e/a'"
changes d/e ln "$mnt/d/e/a" "$mnt/d/e/b"
changes d/e ln -s a "$mnt/d/e/c"
changes d/e mkdir "$mnt/d/e/g"
changes d/e rmdir "$mnt/d/e/g"
changes d/e mv "$mnt/d/e/a" "$mnt/d/e/a2"
changes d/f mv "$mnt/d/e/a2" "$mnt/d/f/a2"
changes d/e rm "$mnt/d/e/b"
changes . mkdir "$mnt/top"
say "$n changes were seen"

# what is written to a file is no change of its directory
before=$(time_of "$mnt/d/e")
echo more >>"$mnt/d/e/old"
chmod 600 "$mnt/d/e/old"
sync -f "$mnt/d/e/old"
[ "$(time_of "$mnt/d/e")" = "$before" ] || fail "an append to a file changes its directory's time"

# what is set stays, though the names were changed a moment before
touch "$mnt/d/e/x"
touch -d '2001-02-03 04:05:06.789 UTC' "$mnt/d/e"
wait_for 10 "the time that was set" alike d/e
mkdir "$mnt/d/f/after" # the time of d/f is put after all that waits for d/e
wait_for 10 "the time of what was changed after it" alike d/f
[ "$(time_of "$other/d/e")" = 981173106.789000000 ] || fail "set, and then: $(time_of "$other/d/e")"
[ "$(time_of "$mnt/d/e")" = 981173106.789000000 ] || fail "set, and then here: $(time_of "$mnt/d/e")"

# the end of the mount puts what waits
touch "$mnt/d/f/last"
now=$(time_of "$mnt/d/f")
has_come() {
    [ "$(time_of "$other/d/f")" = "$now" ]
}
mount_down
wait_for 10 "the end of the mount" has_come
mount_up
[ "$(time_of "$mnt/d/f")" = "$now" ] || fail "over a remount: $(time_of "$mnt/d/f"), not $now"
[ "$(time_of "$mnt/d/e")" = 981173106.789000000 ] || fail "over a remount: $(time_of "$mnt/d/e")"

# each mount changes it: the later counts, at both
touch "$mnt/d/f/mine"
touch "$other/d/f/theirs"
now=$(time_of "$other/d/f")
wait_for 10 "one time of two changes" alike d/f
[ "$(time_of "$mnt/d/f")" = "$now" ] || fail "of two changes: $(time_of "$mnt/d/f"), not $now"

# how many directories are in a directory is told where nobody has listed it, too
links() { # MOUNT NAME COUNT
    [ "$(stat -c %h "$1/d/$2")" = $(($3 + 2)) ]
}
all_links() { # NAME COUNT
    links "$mnt" "$1" "$2" && links "$other" "$1" "$2"
}
mkdir -p "$mnt/d/l/in/1" "$mnt/d/l/in/2" "$mnt/d/l/in/3" "$mnt/d/l/to"
touch "$mnt/d/l/in/file"
links "$mnt" l/in 3 || fail "$(stat "$mnt/d/l/in")"
wait_for 10 "three directories" all_links l/in 3
wait_for 10 "none" all_links l/to 0
mount_down
mount_up
links "$mnt" l/in 3 || fail "over a remount: $(stat "$mnt/d/l/in")"
rmdir "$mnt/d/l/in/1"
links "$mnt" l/in 2 || fail "removed: $(stat "$mnt/d/l/in")"
mv "$mnt/d/l/in/2" "$mnt/d/l/to/"
mkdir "$other/d/l/to/4"
wait_for 10 "one is left" all_links l/in 1
ls "$mnt/d/l/to" >"$work/listed" # two mounts have changed it at the same time: whoever lists it counts
wait_for 10 "two have come" all_links l/to 2
mv -T "$mnt/d/l/in/3" "$mnt/d/l/to/2" # takes its place
wait_for 10 "none is left" all_links l/in 0
wait_for 10 "the same number" all_links l/to 2
mount_down
mount_down "$other"
mount_up
if ! links "$mnt" l/in 0 || ! links "$mnt" l/to 2 || ! links "$mnt" l 2; then
    fail "over a remount of both: $(stat -c '%h %n' "$mnt/d/l" "$mnt"/d/l/*)"
fi
[ "$(find "$mnt/d/l" -links 2 | wc -l)" = 3 ] || fail "find -links: $(find "$mnt/d/l" -links 2)"
mount_down
cluster_down

pass
