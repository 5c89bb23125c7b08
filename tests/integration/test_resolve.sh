#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Files in conflict are listed from the nodes (kithctl conflicts), told by the mount
# (user.kith.versions), compared and settled (kithctl diff, resolve): each way, and what they refuse.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up

holds() {
    [ "$(cat "$1")" = "$2" ]
}
others() { # FILE: the names beside it, at $mnt
    (cd "$(dirname "$mnt/$1")" && find . -maxdepth 1 -name "$(basename "$1").conflict-*" -printf '%f\n')
}
count_is() { # FILE COUNT
    [ "$(others "$1" | wc -l)" = "$2" ]
}
# again NAME TEXT: one more version beside it; what $mnt writes, TEXT, bears the name
again() {
    local count
    count=$(others "$1" | wc -l)
    exec 7<>"$mnt/$1"
    echo "theirs $((count + 1))" >"$other/$1"
    echo "$2" >&7
    exec 7>&-
    wait_for 10 "another version beside $1" count_is "$1" $((count + 1))
}
# old NAME: it has one version, which is new to both mounts and shorter than what follows
round=100
old() {
    round=$((round + 1))
    echo $round >"$mnt/$1"
    wait_for 10 "the other mount to see $1" grep -qx $round "$other/$1"
}
# conflict NAME: version 1 has "mine", 2 has "theirs 1"
conflict() {
    mkdir -p "$(dirname "$mnt/$1")"
    old "$1"
    again "$1" mine
}
# status_is STATUS COMMAND...; what it says is in $out
status_is() {
    local want=$1 got=0
    shift
    out=$("$@" 2>&1) || got=$?
    [ $got = "$want" ] || fail "$*: $got, not $want: $out"
}
says() {
    case "$out" in *"$1"*) ;; *) fail "no '$1' in: $out" ;; esac
}
# json EXPRESSION: of the document x on standard input
json() {
    /usr/bin/python3 -c 'import json, sys
x = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"
}
attribute() {
    /usr/bin/python3 -c 'import os, sys
print(os.getxattr(sys.argv[1], sys.argv[2]).decode(), end="")' "$1" "${2:-user.kith.versions}"
}
# status_tells COUNT: of files in conflict, in words and numbers; which says nothing of health
status_tells() {
    local words
    words=$(kv status) && [ "$(kv status --json | json 'x["conflicts"]')" = "$1" ] &&
        [ "$(kv status --json | json 'sum(n["conflicts"] for n in x["nodes"])')" = "$1" ] || return 1
    case $1 in
    0) ! grep -q "in conflict" <<<"$words" ;;
    1) grep -qx "1 file in conflict (kithctl conflicts)\." <<<"$words" ;;
    *) grep -qx "$1 files in conflict (kithctl conflicts)\." <<<"$words" ;;
    esac
}
settled() { # NAME TEXT: at both mounts
    holds "$mnt/$1" "$2" || fail "$1 has $(cat "$mnt/$1")"
    wait_for 10 "the same elsewhere" holds "$other/$1" "$2"
    count_is "$1" 0 || fail "beside $1: $(others "$1")"
    status_is 0 kv conflicts "/$1"
}

# none
mkdir "$mnt/d"
echo alone >"$mnt/d/alone"
status_is 0 kv conflicts
says "No file is in conflict."
status_is 0 kv conflicts --count
[ "$out" = 0 ] || fail "--count: $out"
status_tells 0 || fail "$(kv status)"
status_is 0 kithctl resolve "$mnt/d/alone"
says alone
status_is 0 kithctl diff "$mnt/d/alone"
says "no other version"
for option in --latest "--keep 1" --all-as-files "--tool false"; do
    # shellcheck disable=SC2086
    status_is 0 kithctl resolve "$mnt/d/alone" $option
    says "no other version"
done
[ "$(attribute "$mnt/d/alone" | cut -d' ' -f1,4,5)" = "1 6 alone" ] || fail "$(attribute "$mnt/d/alone")"
[[ "$(attribute "$mnt/d/alone")" =~ ^1\ 2[0-9-]*T[0-9:]*Z\ root@ ]] || fail "$(attribute "$mnt/d/alone")"
[[ "$(attribute "$mnt/d")" = *" d" ]] || fail "a directory: $(attribute "$mnt/d")"

# listed
conflict d/e/plan.odt
wait_for 10 "the status to tell of it" status_tells 1
sleep 1.1 # the times that are shown are whole seconds
again d/e/plan.odt "mine, too"
conflict "d/with 'odd' name.ü"
wait_for 10 "the status to tell of both" status_tells 2
status_is 4 kv conflicts
says "PATH"
says "d/e/plan.odt"
says "d/with 'odd' name.ü"
says "root@"
says "kithctl resolve"
[ "$(echo "$out" | grep -c plan.odt)" -ge 1 ] || fail "$out"
status_is 4 kithctl conflicts "$mnt/d/e"
[[ "$out" =~ plan.odt\ *3\ *2[0-9-]*\ [0-9:]*\ *root@ ]] || fail "of a folder: $out"
says "Keep one: kithctl resolve $mnt/d/e/plan.odt --keep 2"
status_is 4 sh -c "cd '$mnt/d' && kithctl conflicts --count"
[ "$out" = 2 ] || fail "where one stands: $out"
status_is 4 kithctl conflicts "$mnt/d/e/plan.odt" --count
KITH_SERVERS=127.0.0.1:1 status_is 4 kithctl conflicts "$mnt/d/e/plan.odt" --count # a mount knows its nodes
[ "$out" = 1 ] || fail "one file: $out"
status_is 4 kv conflicts --json
[ "$(echo "$out" | json '[x["count"], x["complete"], sorted((c["path"], len(c["versions"])) for c in x["conflicts"])]')" = \
    "[2, True, [('d/e/plan.odt', 3), (\"d/with 'odd' name.ü\", 2)]]" ] || fail "$out"
name=$(echo "$out" | json '[c for c in x["conflicts"] if len(c["versions"]) == 3][0]["versions"][1]["name"]')
[ -e "$mnt/d/e/$name" ] || fail "there is no $name"
status_is 4 kv conflicts --count --json
[ "$(echo "$out" | json 'x["count"], "conflicts" in x')" = "(2, False)" ] || fail "$out"

# many pages, and a deep place
mkdir -p "$mnt/d/many/1/2/3/4/5/6/7/8"
seq -f "$mnt/d/many/file%g" 1200 | xargs touch
conflict d/many/1/2/3/4/5/6/7/8/deep
conflict d/many/file999x
status_is 4 kithctl conflicts "$mnt/d/many" --json
[ "$(echo "$out" | json '[x["names"], sorted(c["path"] for c in x["conflicts"])]')" = \
    "[1211, ['1/2/3/4/5/6/7/8/deep', 'file999x']]" ] || fail "$out"
wait_for 10 "the status to tell of four" status_tells 4
rm -r "$mnt/d/many"
wait_for 10 "the status to tell of two again" status_tells 2

# told by the mount
attribute "$mnt/d/e/plan.odt" >"$work/versions"
[ "$(cut -d' ' -f1,4 "$work/versions" | tr '\n' ' ')" = "1 10 2 9 3 9 " ] || fail "$(cat "$work/versions")"
[ "$(tail -n +2 "$work/versions" | cut -d' ' -f5 | LC_ALL=C sort)" = "$(others d/e/plan.odt | LC_ALL=C sort)" ] ||
    fail "$(cat "$work/versions")"
[ "$(cut -d' ' -f2 "$work/versions")" = "$(cut -d' ' -f2 "$work/versions" | sort -r)" ] || fail "$(cat "$work/versions")"
[ "$(/usr/bin/python3 -c 'import os, sys; print(os.listxattr(sys.argv[1]))' "$mnt/d/e/plan.odt")" = "[]" ] ||
    fail "it is listed"
status_is 1 attribute "$mnt/d/e/plan.odt" user.kith.other
says "No data available"
status_is 1 attribute "$mnt/d/e/$(others d/e/plan.odt | head -1)"
says "No data available"
for act in 'os.setxattr(sys.argv[1], "user.kith.versions", b"x")' \
    'os.removexattr(sys.argv[1], "user.kith.versions")' 'os.setxattr(sys.argv[1], "user.kith.x", b"x")'; do
    status_is 1 /usr/bin/python3 -c "import os, sys; $act" "$mnt/d/e/plan.odt"
    says "not permitted"
done
cp -a "$mnt/d/e/plan.odt" "$work/copy" || fail "cp -a"
say "listed"

# compared
file=$mnt/d/e/plan.odt
status_is 4 kithctl diff "$file"
says "-mine, too"
says "+theirs 1"
says "+theirs 2"
status_is 4 kithctl diff "$file" --tool "echo TOOL"
[ "$(echo "$out" | grep -c "^TOOL $file $file.conflict-")" = 2 ] || fail "$out"
status_is 1 kithctl diff "$file" --tool "exit 2;"
says "ended with status 2"
status_is 4 kithctl diff "$file" --json
[ "$(echo "$out" | json '[len(x["versions"]), len(x["diffs"]), "+theirs" in x["diffs"][0]["diff"]]')" = "[3, 2, True]" ] ||
    fail "$out"

# the numbered list
status_is 4 kithctl resolve "$file"
[[ "$out" =~ 1\ *2[0-9TZ:-]*\ *root@[^\ ]*\ *10\ B\ *plan\.odt ]] || fail "$out"
[ "$(echo "$out" | grep -c "plan.odt.conflict-")" = 2 ] || fail "$out"
status_is 4 kithctl resolve "$file" --json
[ "$(echo "$out" | json '[(v["number"], v["size"]) for v in x["versions"]]')" = "[(1, 10), (2, 9), (3, 9)]" ] || fail "$out"

# what is refused changes nothing
refused() { # STATUS WORDS COMMAND...
    local want=$1 words=$2
    shift 2
    status_is "$want" "$@"
    says "$words"
    [ "$(echo "$out" | wc -l)" = 1 ] || fail "more than a line: $out"
    count_is d/e/plan.odt 2 || fail "$* changed what is beside it"
    holds "$file" "mine, too" || fail "$* changed it"
}
refused 1 "from 1 to 3" kithctl resolve "$file" --keep 4
refused 1 "from 1 to 3" kithctl resolve "$file" --keep 0
refused 1 "from 1 to 3" kithctl resolve "$file" --keep newest
refused 64 "only one of" kithctl resolve "$file" --keep 1 --latest
refused 1 "No such file" kithctl resolve "$mnt/d/e/none"
refused 1 "No such file" kithctl resolve "$mnt/none/none" --latest
refused 1 "no mounted kithfs" kithctl resolve "$work/versions" --latest
refused 1 "no mounted kithfs" kithctl diff "$work/versions"
refused 1 "itself one of the versions" kithctl resolve "$mnt/d/e/$(others d/e/plan.odt | head -1)"
refused 1 "cannot be read" kithctl resolve "$file" --with "$work/none"
refused 1 "is no file" kithctl resolve "$file" --with "$work"
refused 1 "status 3, so nothing was changed" kithctl resolve "$file" --tool "exit 3;"
refused 1 "wrote no result" kithctl resolve "$file" --tool true
refused 1 "status 127" kithctl resolve "$file" --tool "exec 2>/dev/null; no-such-command"
refused 1 "no such file" kv conflicts /none
refused 1 "no such file" kithctl conflicts "$mnt/none"
refused 1 "lies in no mounted kithfs" kv conflicts "$work/none"
ln -s plan.odt "$mnt/d/e/link"
refused 1 "no file nor directory" kithctl resolve "$mnt/d/e/link"
status_is 1 kithctl resolve "$file" --keep 9 --json
[ "$(echo "$out" | json 'x["error"]["command"]')" = resolve ] || fail "$out"
find "$mnt" -name '.kith-resolve*' | grep . && fail "something was left"
say "refused"

# --keep
status_is 0 kithctl resolve "$file" --keep 3
says "removed 2"
settled d/e/plan.odt "theirs 1"
wait_for 10 "the status to tell of the other one" status_tells 1
conflict d/e/plan.odt
status_is 0 kithctl resolve "$file" --keep 1 --json
[ "$(echo "$out" | json '[x["kept"], len(x["versions"]), x["renamed"]]')" = "[1, 1, []]" ] || fail "$out"
settled d/e/plan.odt mine
conflict d/e/plan.odt
status_is 0 sh -c "cd '$mnt/d/e' && kithctl resolve plan.odt --keep '$(others d/e/plan.odt)'"
settled d/e/plan.odt "theirs 1"

# --latest
conflict d/e/plan.odt
status_is 0 kithctl resolve "$file" --latest
settled d/e/plan.odt mine

# --with
conflict d/e/plan.odt
chmod 640 "$file"
echo merged >"$work/merged"
status_is 0 kithctl resolve "$file" --with "$work/merged"
settled d/e/plan.odt merged
[ "$(stat -c %a "$file")" = 640 ] || fail "it has another mode"
conflict d/e/plan.odt
status_is 0 kithctl resolve "$file" --with "$file.conflict-"*
settled d/e/plan.odt "theirs 1"

# how far a copy is
conflict d/e/plan.odt
truncate -s 16M "$work/long"
script -qec "kithctl resolve '$file' --with '$work/long'" /dev/null >"$work/screen" 2>&1 ||
    fail "$(cat "$work/screen")"
grep -q ' of 16 MiB  \[#*-*\] [0-9]*%' "$work/screen" || fail "it is not told how far it is: $(cat "$work/screen")"
echo short >"$file"

# --tool: the plain one comes first
conflict d/e/plan.odt
status_is 0 kithctl resolve "$file" --tool 'f() { cat "$@" >"$KITH_RESULT"; }; f'
settled d/e/plan.odt "mine
theirs 1"

# somebody writes while the tool runs: nothing of it is lost
conflict d/e/plan.odt
status_is 1 kithctl resolve "$file" --tool "f() { echo merged >\"\$KITH_RESULT\"; echo changed >'$file'; }; f"
says "changed it meanwhile"
kept=$(echo "$out" | grep -o '/[^ ]*kith-resolve-[^ :]*/plan.odt')
holds "$kept" merged || fail "the result is not kept: $out"
rm -r "$(dirname "$kept")"
holds "$file" changed || fail "what was written meanwhile"
count_is d/e/plan.odt 1 || fail "the other version went"
status_is 0 kithctl resolve "$file" --keep 1
settled d/e/plan.odt changed

# --all-as-files
conflict d/e/plan.odt
again d/e/plan.odt "mine, too"
status_is 0 kithctl resolve "$file" --all-as-files
says "version 2 is plan.version-"
settled d/e/plan.odt "mine, too"
[ "$(cat "$mnt/d/e"/plan.version-*Z-root@*.odt | LC_ALL=C sort | tr '\n' ' ')" = "theirs 1 theirs 2 " ] ||
    fail "$(ls "$mnt/d/e")"
echo more >>"$(echo "$mnt/d/e"/plan.version-*.odt | cut -d' ' -f1)"
rm "$mnt/d/e"/plan.version-*
say "settled"

# hard links: at each name, and all of them stay one file
echo old >"$mnt/d/one"
ln "$mnt/d/one" "$mnt/d/e/two"
link_conflict() {
    old d/one
    wait_for 10 "the same at the other name" grep -qx $round "$other/d/e/two"
    exec 7<>"$mnt/d/one"
    echo theirs >"$other/d/e/two"
    echo mine >&7
    exec 7>&-
    for name in d/one d/e/two; do
        wait_for 10 "another version beside $name ($(cat "$mnt/$name"), elsewhere $(cat "$other/$name"))" \
            count_is $name 1
    done
}
for way in "--keep 2" "--keep 1" "--with $work/merged"; do
    for name in d/one d/e/two; do
        link_conflict
        status_is 4 kithctl conflicts "$mnt/d" --json
        [ "$(echo "$out" | json 'sorted(c["path"] for c in x["conflicts"] if len(c["versions"]) == 2 and "odd" not in c["path"])')" = \
            "['e/two', 'one']" ] || fail "$out"
        wait_for 10 "the status to tell of one file more, not of two" status_tells 2
        # shellcheck disable=SC2086
        status_is 0 kithctl resolve "$mnt/$name" $way
        want=$(case $way in --keep\ 1) echo mine ;; --keep\ 2) echo theirs ;; *) echo merged ;; esac)
        settled d/one "$want"
        settled d/e/two "$want"
        [ "$(stat -c %h "$mnt/d/one")" = 2 ] || fail "it has $(stat -c %h "$mnt/d/one") names"
    done
done
say "hard links"

# an odd name, and one as long as names can be
odd="d/with 'odd' name.ü"
status_is 0 kithctl resolve "$mnt/$odd" --all-as-files
settled "$odd" mine
long=d/$(printf 'ä%.0s' $(seq 125)).odt
echo old >"$mnt/$long"
wait_for 10 "the long name" grep -qx old "$other/$long"
exec 7<>"$mnt/$long"
echo theirs >"$other/$long"
echo mine >&7
exec 7>&-
long_count() {
    [ "$(attribute "$mnt/$long" | wc -l)" = "$1" ]
}
wait_for 10 "a version of the long one" long_count 2
status_is 4 kithctl resolve "$mnt/$long"
status_is 0 kithctl resolve "$mnt/$long" --all-as-files
long_count 1 || fail "the long one"
holds "$mnt/$long" mine || fail "the long one"
[ -e "$(echo "$mnt/d"/ä*.version-*.odt)" ] || fail "$(ls "$mnt/d")"

# two directories moved to one name at once: listed, gone through, and none of them is removed
mkdir "$mnt/g"
wait_for 10 "the folder" test -d "$other/g"
tries=0
is_in_conflict() {
    { kv conflicts /g --json || true; } | json "any(c['path'] == '$1' for c in x['conflicts'])" | grep -q True
}
until [ $tries -gt 0 ] && is_in_conflict x$tries; do
    tries=$((tries + 1))
    [ $tries -le 50 ] || fail "no two directories of one name"
    rm -rf "$mnt"/g/*
    conflict g/a$tries/in
    mkdir "$other/g/b$tries"
    echo b >"$other/g/b$tries/in"
    wait_for 10 "the other" test -e "$mnt/g/b$tries/in"
    mv -T "$mnt/g/a$tries" "$mnt/g/x$tries" 2>/dev/null &
    mv -T "$other/g/b$tries" "$other/g/x$tries" 2>/dev/null || true
    wait $! || true
done
both=g/x$tries
wait_for 10 "it at the mount" count_is "$both" 1
status_is 4 kithctl conflicts "$mnt/g" --json
got=$(echo "$out" | json 'sorted(c["path"] for c in x["conflicts"])')
case $got in # the one with the file in conflict bears the name, or is the other
    "['x$tries', 'x$tries/in']" | "['x$tries', 'x$tries.conflict-"*"/in']") ;;
    *) fail "$out" ;;
esac
status_is 4 kithctl diff "$mnt/$both"
for way in "--keep 1" "--keep 2" --latest "--with $work/merged"; do
    # shellcheck disable=SC2086
    status_is 1 kithctl resolve "$mnt/$both" $way
    says "is a directory"
    count_is "$both" 1 || fail "$way removed a directory"
done
status_is 0 kithctl resolve "$mnt/$both" --all-as-files
[ "$(cat "$mnt/$both"/in "$mnt/$both".version-*/in | LC_ALL=C sort | tr '\n' ' ')" = "b mine " ] || fail "$(ls -R "$mnt/g")"
rm -r "$mnt/g"
say "directories"

# a mount that hides them
conflict d/e/plan.odt
mkdir -p "$work/mnt3" "$work/mnt4"
mount_up "$work/mnt3" conflicts=hide
status_is 1 kithctl resolve "$work/mnt3/d/e/plan.odt" --latest
says "conflicts=hide"
mount_down "$work/mnt3"
# and one that calls them otherwise, of a folder
kithfs "$servers:/d" "$work/mnt4" -o "log=$work/mnt4.log,conflict_names=infix" || fail "mnt4"
status_is 4 kithctl conflicts "$work/mnt4" --count
status_is 0 kithctl resolve "$work/mnt4/e/plan.odt" --keep 2
wait_for 10 "what was chosen there" holds "$file" "theirs 1"
umount "$work/mnt4"

status_is 0 kithctl conflicts "$mnt"
wait_for 10 "the status to tell of none" status_tells 0

# the node that tells of it goes, and another one does
conflict d/e/plan.odt
wait_for 10 "the status to tell of it" status_tells 1
teller=$(kv status --json | json '[n["address"] for n in x["nodes"] if n["conflicts"] == 1][0]')
node_kill "$(tr , '\n' <<<"$servers" | grep -nx "$teller" | cut -d: -f1)"
told_without() {
    { kv status --json || true; } |
        json '[(n["address"], n["conflicts"]) for n in x["nodes"] if n.get("conflicts")], x["conflicts"]' |
        grep -v "$teller" | grep -q ", 1)$"
}
wait_for 20 "another node to tell of it" told_without
status_is 0 kithctl resolve "$file" --latest
wait_for 10 "the status to tell of none without it" \
    sh -c "kithctl status --servers '$servers' | grep -q '2 of 3 nodes up' &&
        ! kithctl status --servers '$servers' | grep -q 'in conflict'"
kithctl local down "$dir" >/dev/null 2>&1
status_is 3 kv conflicts --timeout 2s
for command in conflicts diff resolve; do
    kithctl $command --help | grep -A1 '^Example' | grep -q "kithctl $command" || fail "$command --help"
done
cluster_up 3
two_mounts_down
pass
