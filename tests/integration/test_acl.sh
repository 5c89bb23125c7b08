#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# POSIX ACLs: setfacl, getfacl, cp, rsync, tar and other users on a mount say and may the same as on
# a local filesystem that has ACLs; another mount sees them, and changes of them; no crash parts
# what is made from the default ACL of its directory.
. "$(dirname "$0")/lib.sh"

need_fuse
for tool in setfacl getfacl getfattr setpriv rsync; do
    command -v $tool >/dev/null || skip "needs $tool"
done
chmod 711 "$work"

# as UID GID GROUPS COMMAND...
as() {
    local groups=--clear-groups
    [ "$3" = - ] || groups=--groups=$3
    setpriv --reuid "$1" --regid "$2" "$groups" "${@:4}"
}
# What those who are asked may do with a file or directory.
may() {
    local who name what
    for name in "$@"; do
        for who in "1001 2001 -" "1002 2001 -" "1003 2003 -" "1003 2003 2002" "1004 2002 -" \
            "1001 2001 2002"; do
            for what in r w x; do
                # shellcheck disable=SC2086
                as $who test -$what "$name" && printf '%s' $what || printf -- -
            done
            # shellcheck disable=SC2086
            if [ -d "$name" ]; then
                as $who ls "$name" >/dev/null 2>&1 && printf ' lists'
                as $who touch "$name/.by" 2>/dev/null && printf ' makes' && rm -f "$name/.by"
                as $who stat "$name/." >/dev/null 2>&1 && printf ' enters'
            else
                as $who cat "$name" >/dev/null 2>&1 && printf ' reads'
                as $who bash -c ': >>"$1"' - "$name" 2>/dev/null && printf ' appends'
            fi
            echo " $name $who"
        done
    done
}
show() {
    getfacl -n "$@" 2>&1
    stat -c '%a %u %g %n' "$@"
    getfattr -m - "$@" 2>&1 | sort
    # shellcheck disable=SC2012
    ls -ld "$@" | cut -d' ' -f1
}
tree() { # DIR...: by name, as no two filesystems list alike
    find "$@" ! -type l -print0 | LC_ALL=C sort -z | xargs -0 getfacl -np
}
# told COMMAND...: what it says, and its exit status
told() {
    local status=0
    "$@" 2>&1 || status=$?
    echo "$1 ended with $status"
}
raw() { # NAME ATTRIBUTE HEX [FLAGS]
    /usr/bin/python3 - "$@" <<'END'
import errno, os, sys
name, which, value = sys.argv[1:4]
flags = int(sys.argv[4]) if len(sys.argv) > 4 else 0
try:
    os.setxattr(name, "system.posix_acl_" + which, bytes.fromhex(value), flags)
    print("set", os.getxattr(name, "system.posix_acl_" + which).hex())
except OSError as error:
    print(name, which, value, flags, errno.errorcode[error.errno])
END
}

access_steps() {
    echo text >f
    show f
    setfacl -m u:1001:rw,g:2002:r,u:1003:0 f
    show f
    chown 1002:2003 f
    chmod 640 f
    show f
    may f
    chmod 060 f # the owner alone is not in it
    show f
    may f
    chmod 664 f
    setfacl -n -m m::r f
    show f
    may f
    setfacl -x u:1001 f
    setfacl -m o::r,u::rwx f
    show f
    setfacl -x g:2002,u:1003 f # the mask stays
    show f
    setfacl -b f
    show f
    setfacl -m u::rw,g::-,o::- f # that is a mode
    show f
    setfacl -m u:1001:rwx f
    told setfattr -x system.posix_acl_access f
    show f
    told setfattr -x system.posix_acl_access f
    told setfacl -m u:nobody-has-this-name:r f
    told setfacl -d -m u:1001:r f
}
id_steps() {
    mkdir -m 2775 team
    chown 1002:2002 team
    : >team/f
    show team/f
    chmod 6755 team/f
    as 1002 2001 - setfacl -m u:1001:x team
    show team
    chmod 2775 team
    as 1002 2001 2002 setfacl -m u:1001:rx team
    as 1002 2002 - setfacl -m u:1003:rx team
    show team
    setfacl -m u:1001:rx team/f
    show team/f
    chmod 1777 team
    setfacl -m g:2002:rwx team
    show team
    told as 1001 2001 - setfacl -m u:1001:rwx team
    told as 1001 2001 - chmod 777 team
}
default_steps() {
    mkdir d
    setfacl -d -m u:1001:rwx,g:2002:rx,o::- d
    show d
    may d
    local mask
    for mask in 000 022 077 777; do
        umask $mask
        : >d/f$mask
        mkdir d/d$mask
        mknod d/n$mask p
        ln -s f d/l$mask
        mkdir -m 700 d/m$mask
        mknod -m 600 d/p$mask p
    done
    umask 022
    show d/[fdnmp]*
    may d/f* d/d000
    stat -c '%F %N' d/l*
    setfacl -m u:1001:rx,d:u:1003:rwx d/d000
    : >d/d000/f
    mkdir d/d000/deep
    show d/d000 d/d000/f d/d000/deep
    mkdir d/plain
    setfacl -b d/plain
    setfacl -d -m u::rwx,g::r,o::- d/plain # no names, no mask
    umask 077
    : >d/plain/f
    mkdir d/plain/d
    umask 022
    show d/plain d/plain/f d/plain/d
    setfacl -k d/d000
    : >d/d000/after
    show d/d000 d/d000/after
    told setfattr -x system.posix_acl_default d/d000
    told setfattr -x system.posix_acl_default f
    mkdir g
    chmod 2755 g
    setfacl -d -m u:1001:rwx g
    mkdir g/d
    : >g/f
    show g g/d g/f
}
name_steps() {
    setfacl -m u:1001:rw f
    ln f f2
    setfacl -m u:1003:r f2
    show f
    mv f f3
    rm f2
    show f3
    mkdir other
    ln f3 other/f
    mv f3 other/f3
    chmod 604 other/f
    show other/f3
    setfacl -m u:1001:rwx other
    setfacl -d -m u:1001:r other
    mv other moved
    : >moved/new
    show moved moved/f3 moved/new
    : >young
    setfacl -m u:1001:rw young
    mv young moved/f # over another
    show moved/f
    exec 5>pending
    echo a >&5
    setfacl -m u:1001:rw pending
    mv pending stays
    echo b >&5
    chmod 600 stays
    setfacl -m u:1003:r stays
    exec 5>&-
    show stays
    cat stays
}
copy_steps() {
    cp -a moved copied
    show copied copied/*
    cp -a moved/f3 d/f3 # the default ACL there says nothing
    show d/f3
    cp moved/f3 d/f4
    show d/f4
    rsync -aA moved/ synced/
    show synced synced/*
    setfacl -m u:1001:--- synced/f3
    rsync -aA synced/ moved/
    show moved/f3
    tar --acls --numeric-owner -cf all.tar moved d
    mkdir out
    tar --acls -xpf all.tar -C out
    (cd out && tree moved d)
    tree moved d >all.acl
    setfacl -Rb moved d
    tree moved | grep -c :1001 || true
    setfacl --restore=all.acl
    tree moved d | diff - all.acl && echo restored
    setfacl -R -m u:1004:rX moved
    tree moved
}
beside_steps() {
    setfattr -n user.a -v b moved/f
    show moved/f
    setfattr -x user.a moved/f
    show moved/f
    chown 1004:2001 moved/f
    show moved/f
    : >moved/f
    show moved/f
}
raw_steps() {
    local head=02000000 u=01000600ffffffff g=04000400ffffffff m=10000400ffffffff
    local o=20000000ffffffff named=02000600e9030000
    : >raw
    raw raw access $head$u$named$g$m$o
    raw raw access $head$u$g$o 1 # XATTR_CREATE
    raw raw access $head$u$g$o
    raw raw access $head$u$g$o 2 # XATTR_REPLACE
    raw raw access $head$u$named$g$o
    raw raw access $head$g$u$o
    raw raw access $head$u$g
    raw raw access ${head}01000800ffffffff$g$o
    raw raw access $head$u${g}40000000ffffffff
    raw raw access ${head}010006
    raw raw default $head$u$g$o
    raw d default $head$u$g$m$o
    raw d default $head
    show raw d
}
# everything in an empty directory, which it is in; tells what it has seen
steps() {
    local part
    umask 022
    for part in access_steps id_steps default_steps name_steps copy_steps beside_steps raw_steps; do
        echo "== $part"
        $part
    done
}

# A local directory with ACLs to compare with; none: ""
local_place() {
    local at
    for at in "$work" /dev/shm /var/tmp; do
        at=$(mktemp -d "$at/acl.XXXXXX" 2>/dev/null) || continue
        chmod 755 "$at"
        : >"$at/f"
        if setfacl -m u:1001:r "$at/f" 2>/dev/null; then
            rm "$at/f"
            echo "$at"
            return
        fi
        rm -r "$at"
    done
}
local_at=$(local_place)
compare() { # WHAT: the steps at $mnt
    mkdir "$mnt/steps"
    (cd "$mnt/steps" && steps) >"$work/seen" 2>&1 || fail "$1: $(tail -n 3 "$work/seen")"
    if [ -n "$local_at" ]; then
        diff "$work/told" "$work/seen" >"$work/differ" || fail "$1: $(head -n 40 "$work/differ")"
    fi
}
if [ -n "$local_at" ]; then
    (cd "$local_at" && steps) >"$work/told" 2>&1 || fail "local: $(tail -n 3 "$work/told")"
    rm -r "$local_at"
    [ "$(grep -c 'user:1001' "$work/told")" -gt 50 ] || fail "the steps did not do much"
else
    say "no local filesystem with ACLs: NOT compared with one"
fi

for delay in 0 500; do
    fake_up "$delay" allow_other
    compare "requests that take $delay us"
    (cd "$mnt/steps" && tree . && find . -printf '%p %M %U %G\n' | LC_ALL=C sort) >"$work/before"
    fake_remount
    (cd "$mnt/steps" && tree . && find . -printf '%p %M %U %G\n' | LC_ALL=C sort) >"$work/after"
    diff "$work/before" "$work/after" >"$work/differ" ||
        fail "another mount sees other ACLs: $(head -n 20 "$work/differ")"
    fake_down
done

# the longest ACL has room in a row beside contents that filled it: chmod, rename, link and edit
fake_up 0
longest=$(printf 'u:%d:r,' {1..507})u::rw,g::-,m::r,o::-
head -c 61400 /dev/urandom >"$work/bytes"
cp "$work/bytes" "$mnt/closed"
fake_remount
mkdir "$mnt/sub"
setfacl -n -m "$longest" "$mnt/closed"
mv "$mnt/closed" "$mnt/sub/moved" || fail "a rename of contents with a long ACL"
ln "$mnt/sub/moved" "$mnt/linked" || fail "a link of contents with a long ACL"
chmod 600 "$mnt/linked"
cp "$work/bytes" "$mnt/open"
exec 5>>"$mnt/open"
setfacl -n -m "$longest" "$mnt/open"
echo more >&5
/usr/bin/python3 -c 'import os; os.fsync(5)' || fail "an fsync of contents with a long ACL"
exec 5>&-
! setfacl -m u:508:r "$mnt/open" 2>"$work/said" || fail "an ACL of 512 entries was taken"
grep -q 'Argument list too long' "$work/said" || fail "512 entries: $(cat "$work/said")"
fake_remount
cmp "$work/bytes" "$mnt/linked" || fail "the contents beside a long ACL"
cmp <(cat "$work/bytes" && echo more) "$mnt/open" || fail "what was written beside a long ACL"
for name in linked open; do
    [ "$(getfacl -cnp "$mnt/$name" | grep -c '^user:[0-9]')" = 507 ] || fail "$name has lost entries"
done
fake_down

# nothing is asked for, nor put, for a tree without ACLs
count_of() { # OPTIONS: gets, scans and puts for a small tree, by itself and for others
    fake_up 0 "allow_other$1"
    mkdir "$mnt/t"
    chmod 777 "$mnt/t"
    as 1001 2001 - bash -c 'umask 022
cd "$1/t"
for i in {1..200}; do echo $i >$i; done
cat {1..200} >/dev/null
mkdir -p a/b/c
cp -a 1 2 3 4 a/b/c' - "$mnt"
    as 1002 2002 - bash -c 'cat "$1"/t/{1..200} "$1"/t/a/b/c/* >/dev/null' - "$mnt"
    fake_down
    counts=$(grep -E '^(get|scan|put|put_updates) ' "$fake_log" | paste -sd' ')
}
count_of ,noacl
without=$counts
count_of ""
say "requests without ACLs: $without, with: $counts"
[ "$without" = "$counts" ] || fail "a tree without ACLs takes $counts, $without with noacl"

# noacl: ACLs are not supported, and the kernel applies the umask
fake_up 0 allow_other,noacl
mkdir "$mnt/d"
echo a >"$mnt/d/f"
! setfacl -m u:1001:rw "$mnt/d/f" 2>"$work/said" || fail "noacl, and an ACL can be set"
grep -q 'Operation not supported' "$work/said" || fail "noacl: $(cat "$work/said")"
[ -z "$(getfattr -m - "$mnt/d/f")" ] || fail "noacl lists $(getfattr -m - "$mnt/d/f")"
(umask 027 && : >"$mnt/d/g" && mkdir "$mnt/d/h")
has_mode "$mnt/d/g" 640 || fail "noacl: no umask: $(stat -c %a "$mnt/d/g")"
has_mode "$mnt/d/h" 750 || fail "noacl: no umask: $(stat -c %a "$mnt/d/h")"
fake_down

# ---- A cluster, and two mounts of it ----
cluster_up 3
mount_up "$mnt" allow_other
mount_up "$other" allow_other
acl_is() { # FILE TEXT: the entries in one line
    [ "$(getfacl -cnp "$1" 2>/dev/null | grep -v '^$' | paste -sd,)" = "$2" ]
}
may_read() {
    as 1001 2001 - cat "$1"
}
may_not_read() {
    ! may_read "$1"
}
mkdir "$mnt/d"
(umask 077 && echo secret >"$mnt/d/f")
wait_for 10 "the file at the other mount" test -e "$other/d/f"
chmod 711 "$mnt/d"
wait_for 10 "the directory to be open" has_mode "$other/d" 711
may_not_read "$other/d/f" 2>/dev/null || fail "a file of mode 600 can be read"
setfacl -m u:1001:r "$mnt/d/f"
wait_for 10 "an ACL that another mount has set" acl_is "$other/d/f" \
    "user::rw-,user:1001:r--,group::---,mask::r--,other::---"
wait_for 10 "it to count" may_read "$other/d/f"
setfacl -m u:1001:- "$mnt/d/f" # the mode stays: only the ACL is another
wait_for 10 "an ACL that shuts out to count" may_not_read "$other/d/f"
setfacl -m u:1001:r "$other/d/f"
wait_for 10 "the other way round" may_read "$mnt/d/f"
chmod 600 "$mnt/d/f"
wait_for 10 "a chmod of the mask to count" may_not_read "$other/d/f"
acl_is "$other/d/f" "user::rw-,user:1001:r--	#effective:---,group::---,mask::---,other::---" ||
    fail "after a chmod elsewhere: $(getfacl -cnp "$other/d/f")"
setfacl -d -m u:1001:rwx,o::- "$mnt/d"
inherits() { # until a file that is made at the other mount has it
    rm -f "$other/d/made"
    : >"$other/d/made"
    getfacl -cnp "$other/d/made" | grep -q '^user:1001:rwx'
}
wait_for 10 "a default ACL that another mount has set" inherits
setfacl -k "$mnt/d"
inherits_not() {
    ! inherits
}
wait_for 10 "a default ACL that another mount has removed to be gone" inherits_not

# an edit here and an ACL there, a chmod here and a default ACL there: both stay
exec 5>>"$other/d/f"
echo more >&5
setfacl -m u:1001:r "$mnt/d/f"
exec 5>&-
wait_for 10 "an ACL beside an edit" acl_is "$other/d/f" \
    "user::rw-,user:1001:r--,group::---,mask::r--,other::---"
[ "$(cat "$other/d/f" | paste -sd' ')" = "secret more" ] || fail "the edit: $(cat "$other/d/f")"
[ "$(ls "$mnt/d")" = "f
made" ] || fail "there is more: $(ls "$mnt/d")"

# another version of a file is under the file's ACL, beside it and on its own
exec 5<>"$mnt/d/f" 6<>"$other/d/f"
echo here >&5
echo elsewhere >&6
exec 5>&- 6>&-
beside() {
    [ "$(find "$1/d" -name 'f.conflict-*' | wc -l)" = 1 ]
}
wait_for 10 "another version" beside "$mnt"
wait_for 10 "it at the other mount" beside "$other"
shown="user::rw-,user:1001:r--,group::---,mask::r--,other::---"
acl_is "$mnt/d/f".conflict-* "$shown" || fail "beside: $(getfacl -cnp "$mnt/d/f".conflict-*)"
! setfacl -m u:1003:r "$mnt/d/f".conflict-* 2>"$work/said" || fail "an ACL of a made name"
grep -q 'Operation not permitted' "$work/said" || fail "an ACL of a made name: $(cat "$work/said")"
mv "$mnt/d/f".conflict-* "$mnt/d/parted"
wait_for 10 "it on its own" acl_is "$other/d/parted" "$shown"

# a mount that would remember for half a minute what it is not told, and whose kernel has the ACL
mount_down "$other"
mount_up "$other" allow_other,attr_timeout=30,entry_timeout=30,log_level=debug
watched() {
    [ ! -e "$other/d/none.$RANDOM$RANDOM" ] &&
        grep "$(printf 'directory %x' "$(stat -c %i "$mnt/d")"): " "$work/mnt2.log" |
        tail -n 1 | grep -q live
}
still_watched_and() {
    watched && "$@"
}
wait_for 20 "a watch of the directory" watched
# asked by access(2) alone: a read or stat(2) would have the kernel ask anew
granted() {
    as 1001 2001 - test -r "$other/d/f"
}
withdrawn() {
    ! granted
}
granted || fail "the ACL of before the mount"
setfacl -m u:1001:- "$mnt/d/f"
wait_for 10 "word of an ACL" still_watched_and withdrawn
setfacl -m u:1001:r "$mnt/d/f"
wait_for 10 "word of another ACL" still_watched_and granted
mount_down "$other"
mount_up "$other" allow_other

# a mount without ACLs keeps those of others, in step with the modes that it sets
mount_down
mount_up "$mnt" allow_other,noacl
chmod 640 "$mnt/d/f"
mv "$mnt/d/f" "$mnt/d/g"
wait_for 10 "a chmod without ACLs" acl_is "$other/d/g" \
    "user::rw-,user:1001:r--,group::---,mask::r--,other::---"
chmod 600 "$mnt/d/g"
wait_for 10 "a chmod without ACLs to count" may_not_read "$other/d/g"
mount_down

# killed while it makes things: each is there with its ACL, or not at all
mount_up "$mnt" "allow_other,pid_file=$work/mounted"
setfacl -d -m u:1001:rwx,o::- "$mnt/d"
for round in 1 2 3; do
    (
        cd "$mnt/d"
        for i in {1..300}; do
            mkdir "$round.$i.d" && : >"$round.$i.f" || break
        done
    ) 2>/dev/null &
    maker=$!
    wait_for 10 "something to be made" test -e "$mnt/d/$round.20.f"
    kill -KILL "$(cat "$work/mounted")"
    wait $maker || true
    fusermount3 -uz "$mnt" 2>/dev/null || true
    mount_up "$mnt" "allow_other,pid_file=$work/mounted"
    [ -d "$mnt/d/$round.1.d" ] || fail "what was made is gone"
    for name in "$mnt/d/$round".*; do
        getfacl -cnp "$name" 2>/dev/null | grep -q '^user:1001:rwx' ||
            fail "$name has no ACL: $(getfacl -cnp "$name" | paste -sd' ')"
        [ ! -d "$name" ] || getfacl -cnp "$name" | grep -q '^default:user:1001:rwx' ||
            fail "$name has no default ACL"
    done
done
mount_down
mount_down "$other"
pass
