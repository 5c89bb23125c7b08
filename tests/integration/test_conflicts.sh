#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Versions that two mounts have written at the same time are files beside the file: seen alike at both
# mounts, read, refused to writers, removed, chosen and moved as files are.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up

holds() {
    [ "$(cat "$1")" = "$2" ]
}
others() { # FILE: the names beside it, at $mnt; of a long one they are cut
    local name
    name=$(basename "$1")
    (cd "$(dirname "$mnt/$1")" &&
        find . -maxdepth 1 -name "${name:0:60}*.conflict-*" -printf '%f\n' | LC_ALL=C sort)
}
count_is() { # FILE COUNT
    [ "$(others "$1" | wc -l)" = "$2" ]
}
same_listing() { # DIR
    [ "$(ls -A "$mnt/$1")" = "$(ls -A "$other/$1")" ]
}
# conflict NAME: "mine" bears the name, "theirs" is beside it, as $made
conflict() {
    echo old >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/$1"
    exec 7<>"$mnt/$1"
    echo "theirs, longer" >"$other/$1"
    echo mine >&7
    exec 7>&-
    wait_for 10 "another version beside $1" count_is "$1" 1
    made=$(dirname "$1")/$(others "$1")
    wait_for 10 "the same at the other mount" test -e "$other/$made"
}
# refused ERROR COMMAND...
refused() {
    local want=$1 out
    shift
    if out=$("$@" 2>&1); then
        fail "$* was done"
    fi
    case "$out" in *"$want"*) ;; *) fail "$*: $out" ;; esac
}

# seen, read and statted
mkdir "$mnt/d" "$mnt/e"
wait_for 10 "the directories at the other mount" test -d "$other/e"
conflict d/plan.odt
[[ "$made" =~ ^d/plan\.odt\.conflict-[0-9]{8}T[0-9]{6}Z-root@.*-[0-9a-f]{8}$ ]] || fail "it is called $made"
for at in "$mnt" "$other"; do
    [ "$(ls -A "$at/d" | tr '\n' ' ')" = "plan.odt ${made#d/} " ] || fail "$at has $(ls -A "$at/d")"
    holds "$at/$made" "theirs, longer" || fail "$at: $(cat "$at/$made")"
    holds "$at/d/plan.odt" mine || fail "$at: $(cat "$at/d/plan.odt")"
    [ "$(stat -c '%s %h %F' "$at/$made")" = "15 1 regular file" ] || fail "$(stat "$at/$made")"
done
[ "$(stat -c %i "$mnt/$made")" = "$(stat -c %i "$other/$made")" ] || fail "two inode numbers"
[ "$(stat -c %i "$mnt/$made")" != "$(stat -c %i "$mnt/d/plan.odt")" ] || fail "one inode number"
[ "$(date -d "$(stat -c %y "$mnt/$made")" +%s)" -le "$(date -d "$(stat -c %y "$mnt/d/plan.odt")" +%s)" ] ||
    fail "it was written later"

# what is not its file's to do
refused "not permitted" sh -c "echo x >>'$mnt/$made'"
refused "not permitted" truncate -s 0 "$mnt/$made"
refused "not permitted" chmod 600 "$mnt/$made"
refused "not permitted" touch "$mnt/$made"
refused "not permitted" ln "$mnt/$made" "$mnt/d/second"
refused "not permitted" /usr/bin/python3 -c 'import os, sys
os.setxattr(sys.argv[1], "user.a", b"b")' "$mnt/$made"
refused "exists" mkdir "$mnt/$made"
refused "exists" ln "$mnt/d/plan.odt" "$mnt/$made"
echo other >"$mnt/d/file"
refused "exists" mv -f "$mnt/d/file" "$mnt/$made"
holds "$mnt/$made" "theirs, longer" || fail "it was changed"

# copied, and the file written on: it stays
cp "$mnt/$made" "$mnt/d/copy"
holds "$mnt/d/copy" "theirs, longer" || fail "the copy"
echo more >>"$mnt/d/plan.odt"
wait_for 10 "the edit at the other mount" grep -qx more "$other/d/plan.odt"
count_is d/plan.odt 1 || fail "writing the file changed what is beside it: $(others d/plan.odt)"
[ "$(others d/plan.odt)" = "${made#d/}" ] || fail "it has another name: $(others d/plan.odt)"

# removed
rm "$other/$made"
wait_for 10 "the removal at both mounts" count_is d/plan.odt 0
[ ! -e "$other/$made" ] || fail "it is there for who has removed it"
grep -qx more "$mnt/d/plan.odt" || fail "the file"
refused "No such file" rm "$mnt/$made"
say "removed"

# chosen: moved over the file
conflict d/plan.odt
mv "$mnt/$made" "$mnt/d/plan.odt"
holds "$mnt/d/plan.odt" "theirs, longer" || fail "chosen: $(cat "$mnt/d/plan.odt")"
wait_for 10 "what was chosen, elsewhere" holds "$other/d/plan.odt" "theirs, longer"
wait_for 10 "the same names" same_listing d
count_is d/plan.odt 0 || fail "what was chosen is still beside it"
echo more >>"$mnt/d/plan.odt"
wait_for 10 "more of it" grep -qx more "$other/d/plan.odt"
count_is d/plan.odt 0 || fail "writing on made a conflict"
say "chosen"

# moved elsewhere, while somebody reads it
for to in d/later e/later; do
    conflict d/plan.odt
    exec 8<"$mnt/$made"
    mv "$mnt/$made" "$mnt/$to"
    [ "$(cat <&8)" = "theirs, longer" ] || fail "who had it open"
    exec 8<&-
    holds "$mnt/$to" "theirs, longer" || fail "$to: $(cat "$mnt/$to")"
    wait_for 10 "it at the other mount" holds "$other/$to" "theirs, longer"
    wait_for 10 "no other version" count_is d/plan.odt 0
    echo more >>"$mnt/$to"
    echo more >>"$other/$to.2"
    wait_for 10 "more of $to" grep -qx more "$other/$to"
    count_is "$to" 0 || fail "it is in conflict with itself"
    holds "$mnt/d/plan.odt" mine || fail "what was beside it"
done
mv "$mnt/d/later" "$mnt/d/plan.odt"
say "moved"

# many versions, and a name as long as names can be
long=$(printf 'ä%.0s' $(seq 127))
conflict "d/$long"
[ "$(printf %s "${made#d/}" | wc -c)" -le 255 ] || fail "a long name"
printf %s "$made" | iconv -f utf-8 -t utf-8 >/dev/null || fail "cut within a letter: $made"
holds "$other/$made" "theirs, longer" || fail "the long one"
rm "$mnt/$made"
wait_for 10 "the long one's end" count_is "d/$long" 0
rm "$mnt/d/$long"

# large contents come from the chunks
head -c 3000000 /dev/urandom >"$work/theirs"
head -c 2000000 /dev/urandom >"$work/mine"
cp "$work/mine" "$mnt/d/large"
wait_for 10 "the large file" cmp -s "$work/mine" "$other/d/large"
exec 7<>"$mnt/d/large"
cp "$work/theirs" "$other/d/large"
cat "$work/mine" >&7
exec 7>&-
wait_for 10 "a large version" count_is d/large 1
cmp "$work/theirs" "$mnt/d/$(others d/large)" || fail "large contents"
cmp "$work/mine" "$mnt/d/large" || fail "large contents, the file's"
rm "$mnt/d/$(others d/large)"

# a file of that very name: it keeps it, and the version has a longer one
conflict d/plan.odt
cp "$mnt/$made" "$work/saved"
name=$made
rm "$mnt/$made"
echo restored >"$mnt/$name" # as a backup would bring it
holds "$mnt/$name" restored || fail "a file of a made name"
wait_for 10 "it at the other mount" holds "$other/$name" restored
rm "$mnt/$name" "$mnt/d/plan.odt"

# other ways to show them
conflict d/plan.odt
mkdir -p "$work/mnt3" "$work/mnt4"
mount_up "$work/mnt3" conflict_names=infix
mount_up "$work/mnt4" conflicts=hide
infix=$(cd "$work/mnt3/d" && ls -A | grep '^plan.conflict')
[[ "$infix" =~ ^plan\.conflict-.*-[0-9a-f]{8}\.odt$ ]] || fail "infix: $(ls -A "$work/mnt3/d")"
holds "$work/mnt3/d/$infix" "theirs, longer" || fail "infix: $(cat "$work/mnt3/d/$infix")"
ls -A "$work/mnt4/d" | grep conflict && fail "hidden ones are listed"
[ ! -e "$work/mnt4/$made" ] || fail "hidden ones are there"
mount_down "$work/mnt3"
mount_down "$work/mnt4"
rm "$mnt/$made"

# a file with two names: beside each
echo old >"$mnt/d/one"
ln "$mnt/d/one" "$mnt/e/two"
wait_for 10 "the other mount to see it" grep -qx old "$other/e/two"
exec 7<>"$mnt/d/one"
echo theirs >"$other/e/two"
echo mine >&7
exec 7>&-
for name in d/one e/two; do
    wait_for 10 "another version beside $name" count_is $name 1
    holds "$mnt/$name" mine || fail "$name"
    holds "$mnt/$(dirname $name)/$(others $name)" theirs || fail "beside $name"
done
rm "$mnt/d/$(others d/one)"
wait_for 10 "its end beside the other name" count_is e/two 0
holds "$other/e/two" mine || fail "what is left"
say "hard links"

# a mount that comes later sees the same
conflict d/plan.odt
mount_down
mount_up
[ "$(others d/plan.odt)" = "${made#d/}" ] || fail "after a remount: $(others d/plan.odt)"
holds "$mnt/$made" "theirs, longer" || fail "after a remount"
rm -r "$mnt/d" || fail "rm -r of a directory with conflicts"
wait_for 10 "the end of all" test ! -e "$other/d"
two_mounts_down
pass
