#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file that is open at one mount and edited at another, then renamed, linked or exchanged at the
# first, which has seen that there is another version but still holds the old one: the edit stays.
# Also where it is opened once more, or renamed, and then written to by who had it open before: he may
# have read the old contents.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up

# edited NAME [SECOND]: open at $mnt as descriptor 7 with the contents "old", while it is "new"
# elsewhere; with SECOND it has that name, too
edited() {
    echo old >"$mnt/$1"
    [ -z "${2:-}" ] || ln "$mnt/$1" "$mnt/$2"
    wait_for 10 "the other mount to see $1" grep -qx old "$other/${2:-$1}"
    exec 7<>"$mnt/$1"
    cat <&7 >/dev/null
    echo "new $1" >"$other/$1"
    read_again "$1" # the open file keeps its contents all the same
    [ "$(stat -c %s "$mnt/$1")" -gt 0 ]
}
# kept WORD NAME...: the word stands under one of the names at the other mount, or one of their rows
# has a further version, which no name shows yet
kept() {
    local word=$1 name
    shift
    kithctl scan 00000001000000000000000000000000 --servers "$servers" >"$work/rows"
    for name in "$@"; do
        ! grep -qsx "$word" "$other/$name" || return 0
        ! awk -v name="$name" '$1 > 1 && $NF == name { found = 1 } END { exit !found }' \
            "$work/rows" || return 0
    done
    return 1
}

two_versions() { # NAME
    kithctl scan 00000001000000000000000000000000 --servers "$servers" >"$work/rows"
    awk -v name="$1" '$1 == 2 && $NF == name { found = 1 } END { exit !found }' "$work/rows"
}

# newest WORD NAME...: the same, and what a name shows is the word
newest() {
    local word=$1 name
    shift
    for name in "$@"; do
        ! grep -qsx "$word" "$other/$name" || return 0
    done
    return 1
}

# change HOW OLD NEW [WORD]: renames, links or exchanges; before, in the same process, for each one
# that ends flushes the file, WORD is written to descriptor 7
cat >"$work/change.py" <<'END'
import ctypes, os, sys
how, old, new = sys.argv[1:4]
if len(sys.argv) > 4:
    os.write(7, sys.argv[4].encode() + b"\n")
if how == "mv":
    os.rename(old, new)
elif how == "ln":
    os.link(old, new)
else:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, old.encode(), -100, new.encode(), 2) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
END
change() {
    /usr/bin/python3 "$work/change.py" "$@" || fail "$*"
}

linked() { # HOW: a file with two names, clean, has its newest contents afterwards
    local how=$1 to=$2 f=g.$1 close=$3 links=2
    [ "$how" != ln ] || links=3
    edited "$f" "$f.second"
    [ "$close" = after ] || exec 7>&-
    [ "$how" != exchange ] || echo third >"$mnt/$to"
    change "$how" "$mnt/$f" "$mnt/$to"
    [ "$close" = before ] || exec 7>&-
    what="$how of a hard link to $to, closed $close"
    wait_for 10 "the edit under its old name, after $what" newest "new $f" "$f.second"
    wait_for 10 "the edit under its new name, after $what" newest "new $f" "$to"
    [ "$(stat -c %h "$other/$f.second")" = $links ] || fail "links, after $what"
    say "$what"
    rm -f "$mnt/$to" "$mnt/$f" "$mnt/$f.second"
}

mkdir "$mnt/sub"
for close in before after; do
    linked mv g.to $close
    linked mv sub/g.to $close
    linked ln g.to $close
    linked ln sub/g.to $close
    linked exchange g.to $close
done
f=t # cut through the open file, and written anew
edited $f
/usr/bin/python3 -c 'import os
os.ftruncate(7, 0)
os.lseek(7, 0, os.SEEK_SET)
os.write(7, b"mine\n")'
exec 7>&-
wait_for 10 "the edit, after ftruncate" kept "new $f" "$f"
wait_for 10 "what was written here, after ftruncate" kept mine "$f"
[ "$(grep -cE "^ *2 .*[ /]$f\$" "$work/rows")" = 1 ] || fail "$f is $(grep "$f" "$work/rows")"
for way in open rename; do
    for how in cut over append; do
        f=s.$way-$how
        edited "$f"
        if [ $way = open ]; then
            grep -qx "new $f" "$mnt/$f" || fail "it is opened, and not the edit"
            to=$f
        else
            to=$f.to
            change mv "$mnt/$f" "$mnt/$to"
        fi
        /usr/bin/python3 -c 'import fcntl, os, sys
how = sys.argv[1]
if how == "append":
    fcntl.fcntl(7, fcntl.F_SETFL, os.O_APPEND)
if how == "cut":
    os.ftruncate(7, 0)
os.lseek(7, 0, os.SEEK_SET)
os.write(7, b"mine\n")' $how
        exec 7>&-
        what="what was written here, after $way and $how"
        wait_for 10 "$what" kept mine "$to"
        if [ $how = append ]; then
            wait_for 10 "$what, and the edit" newest "new $f" "$to"
        else
            wait_for 10 "$what, beside the edit" two_versions "$to"
        fi
        say "written to after $way: $how"
    done
done
f=h # closed before it is renamed
edited $f
exec 7>&-
change mv "$mnt/$f" "$mnt/h.to"
wait_for 10 "the edit of a file that was closed" newest "new $f" h.to
read_again h.to
[ "$(stat -c %s "$mnt/h.to")" = 6 ] || fail "its size is $(stat -c %s "$mnt/h.to")"
for how in mv ln exchange; do
    for to in f.to sub/f.to; do
        [ "$how $to" != "exchange sub/f.to" ] || continue # refused
        for word in "" mine; do
            f=f.$how-${word:-clean}
            edited "$f"
            [ $how != exchange ] || echo third >"$mnt/$to"
            change $how "$mnt/$f" "$mnt/$to" ${word:+"$word"}
            exec 7>&-
            what="$how to $to${word:+, with something unsent}"
            if [ -z "$word" ]; then
                wait_for 10 "the edit, after $what" newest "new $f" "$f" "$to"
            else
                wait_for 10 "the edit, after $what" kept "new $f" "$f" "$to"
            fi
            [ -z "$word" ] || wait_for 10 "what was written here, after $what" kept mine "$f" "$to"
            [ $how != exchange ] || wait_for 10 "the other file, after $what" kept third "$f" "$to"
            say "$what"
            rm "$mnt/$to"
        done
    done
done
two_mounts_down
pass
