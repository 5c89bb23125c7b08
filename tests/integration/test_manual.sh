#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The manual pages: well formed, with each option, command and key that there is and no other; the
# table of concurrent changes as it is tested (conflicts/table.txt), and the examples, as they are taken.
. "$(dirname "$0")/lib.sh"
man=$KITH_TOP/packaging/man

command -v mandoc >/dev/null || skip "mandoc is not installed"
for page in "$man"/*.[1-9]; do
    if ! grep -q '^\.so ' "$page"; then # another name for a page
        mandoc -Tlint -W warning "$page" >"$work/lint" 2>&1 || fail "$(cat "$work/lint")"
    fi
    # what it refers to is there
    sed -nE 's/^\.(.* )?Xr ((kith|mount\.kith)[^ ]*) ([1-9]).*/\2.\4/p' "$page" | sort -u >"$work/refers"
    while read -r other; do
        [ -e "$man/$other" ] || fail "${page##*/} refers to $other, which there is not"
    done <"$work/refers"
done

# same WHAT MOST: what is so (in $work/is) and what the page says ($work/page), each at least MOST lines
# and none twice there
same() {
    [ "$(wc -l <"$work/is")" -ge "$2" ] || fail "not the $1: $(cat "$work/is")"
    diff <(sort "$work/is") <(sort "$work/page") >"$work/diff" ||
        fail "$1 that there are (<) and in the page (>): $(cat "$work/diff")"
    [ -z "$(sort "$work/page" | uniq -d)" ] || fail "$1 that are twice in the page: $(sort "$work/page" | uniq -d)"
}
# items PAGE SECTION MACRO: the lines ".It MACRO ..." of a section of the page, without that
items() {
    sed -n "/^\.Sh $2\$/,/^\.Sh /s/^\.It $3 //p" "$1"
}

say "kithfs(1)"
kithfs --help | grep -oE '(^  |  )-o [a-z_,]+' | grep -oE '[a-z_]+(,[a-z_]+)?$' | cut -d, -f1 | sort -u >"$work/is"
items "$man/kithfs.1" OPTIONS Cm | grep -oE '^[a-z_]+' >"$work/page"
same options 20
# those that are taken without being told of
grep -oE 'strcmp\((name|word), "[a-z_]+"|\{"[a-z_]+", +&options' "$KITH_TOP/fs/mount/options.c" | grep -oE '"[a-z_]+"' |
    tr -d '"' | sort -u >"$work/taken"
[ "$(wc -l <"$work/taken")" -gt 40 ] || fail "not the options that are taken: $(cat "$work/taken")"
while read -r word; do
    grep -qE "^\.(It .*(Cm|,)|Cm) $word( |\$)" "$man/kithfs.1" || fail "-o $word is taken, and kithfs(1) does not have it"
done <"$work/taken"
kithfs --help >"$work/help"
kithfs -o help | diff "$work/help" - || fail "-o help is another text than --help"
# of each option a line with its default; two say where to look for it
awk '/^  -o / { if (line != "") print line; line = "" }
     /^  / { sub(/^ +/, " "); line = line $0; next }
     { if (line != "") print line; line = "" }' "$work/help" | grep '^ -o ' >"$work/entries"
[ "$(wc -l <"$work/entries")" -gt 30 ] || fail "not the options: $(cat "$work/entries")"
! grep -vE '\(.*\)|^ -o (remount|cert)' "$work/entries" >"$work/bare" || fail "without a default: $(cat "$work/bare")"
grep -v '^#' "$here/conflicts/table.txt" >"$work/tested"
sed -n '/^\.Bd -literal -offset indent/,/^\.Ed/p' "$man/kithfs.1" | grep -E '^[a-z]+ [a-z]+:' >"$work/told"
[ "$(wc -l <"$work/told")" = 121 ] || fail "$(wc -l <"$work/told") lines in the table"
diff "$work/tested" "$work/told" >"$work/diff" || fail "tested (<) and told (>): $(cat "$work/diff")"

say "mount.kithfs(8)"
ln -s "$(type -P kithfs)" "$work/mount.kithfs"
# fake OPTIONS [LETTERS]: whether they are taken; nothing is mounted
fake() {
    "$work/mount.kithfs" n1:/ "$work" "-f${2:-}" -o "$1" >"$work/said" 2>&1
}
items "$man/mount.kithfs.8" OPTIONS Cm | sed 's/ Ns = Ns Ar text/=text/; s/x- Ns Ar name/x-name/; s/ , /\n/g' |
    sed 's/.* Cm //; s/^Cm //' >"$work/words"
[ "$(wc -l <"$work/words")" -gt 30 ] || fail "not the options: $(cat "$work/words")"
while read -r word; do
    case $word in fsname | subtype) word=$word=x ;; esac
    fake "$word" || fail "-o $word: $(cat "$work/said")"
done <"$work/words"
! fake nosymfollow || fail "nosymfollow is taken"
! fake nonsense || fail "nonsense is taken"
fake nonsense s || fail "-s: $(cat "$work/said")"
line=$(grep '^n1,n2,n3:/ .* kithfs ' "$man/mount.kithfs.8")
read -r _ _ type options _ <<<"$line"
[ "$type" = kithfs ] || fail "not the line: $line"
fake "$options" || fail "$line: $(cat "$work/said")"

say "kithd(8)"
kithd --help >"$work/help"
grep -oE '^  --[a-z-]+(, --[a-z-]+)*' "$work/help" | grep -oE '[a-z][a-z-]+' >"$work/is"
items "$man/kithd.8" OPTIONS Fl | grep -oE '(^| )-[a-z][a-z-]+' | tr -d ' ' | sed 's/^-//' >"$work/all"
grep -v '^no-' "$work/all" >"$work/page"
same options 20
sed -nE 's/^\.It Cm ([a-z_]+) No = Cm yes \| no .*/no-\1/p' "$man/kithd.conf.5" | tr _ - | sort >"$work/is"
grep '^no-' "$work/all" >"$work/page"
same "options with no-" 3
for option in $(grep '^no-' "$work/all"); do # they are not in --help
    ! kithd "--$option" >"$work/said" 2>&1 || fail "kithd --$option runs, without a directory"
    ! grep 'unknown option' "$work/said" || fail "kithd(8) has --$option, which there is not"
done
# "name default", of those that are a number
sed -nE 's/^  --([a-z-]+).*\(default ([0-9][^ ]*)\)$/\1 \2/p' "$work/help" >"$work/is"
awk '/^\.It Fl / { name = substr($3, 2) }
     /^\.Sh / { name = "" }
     name != "" && match($0, /\([0-9][^ ]*\)\.?$/) {
         word = substr($0, RSTART + 1)
         sub(/\)\.?$/, "", word)
         print name, word
     }' "$man/kithd.8" >"$work/page"
same "options and their defaults" 8

say "kithd.conf(5)"
conf=$KITH_TOP/packaging/kithd.conf
awk '/^\[/ { section = $1 } match($0, /^#?[a-z_]+ = /) { sub(/^#/, ""); print section, $1 }' "$conf" >"$work/is"
awk '/^\.Ss / { section = $2 } /^\.It Cm / && section ~ /^\[/ { print section, $3 }' "$man/kithd.conf.5" >"$work/page"
same keys 15
sed -nE 's/^  --([a-z-]+).*\(default ([^ ]+)\)$/\1 \2/p' "$work/help" | tr - _ >"$work/is"
sed -nE 's/^\.It Cm ([a-z_]+) No = .* Pq (.*)$/\1 \2/p' "$man/kithd.conf.5" >"$work/page"
same "keys and their defaults" 10
sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' "$man/kithd.conf.5" | sed -n '/^\.Bd/,/^\.Ed/p' | grep -v '^\.' >"$work/example.conf"
[ "$(wc -l <"$work/example.conf")" -gt 10 ] || fail "not the example: $(cat "$work/example.conf")"
kithctl init "$work/certs" --cluster example --node n1 >/dev/null
sed -i "s|/etc/kithfs/|$work/certs/|" "$work/example.conf"
kithd --config "$work/example.conf" --data "$work/node" --listen 127.0.0.1:0 --log "$work/example.log" &
node=$!
echo $node >"$work/example.pid"
# over: it listens, or has ended
over() {
    [ -s "$work/node/address" ] || gone $node
}
wait_for 30 "kithd to listen" over
[ "$(cat "$work/node/address" 2>/dev/null)" = "$(sed -n 's/^advertise = //p' "$work/example.conf")" ] ||
    fail "the example is not taken as it is"
kill $node
wait $node || fail "kithd ended with $?: $(cat "$work/example.log")"
rm "$work/example.pid"

say "kithctl(1)"
# of each command "NAME ARGUMENTS", and of each of its options "NAME: OPTION ARGUMENT"; ahead of them
# those that all have
: >"$work/is"
kithctl --help | sed -n '/^Commands:/,/^$/s/^  //p' | while read -r one two _; do
    [[ $(kithctl "$one" --help) = Usage:* ]] && echo "$one" || echo "$one $two"
done >"$work/commands"
while read -r command; do
    # shellcheck disable=SC2086 # it is one word or two
    kithctl $command --help >"$work/help"
    sed -n '1s/^Usage: kithctl \(.*\) \[OPTIONS\]$/\1/p' "$work/help" >>"$work/is"
    sed -nE '/^Options:/,/^$/s/^  --([a-z-]+)( [A-Z.]+)? .*/\1\2/p' "$work/help" >"$work/options"
    tail -n 4 "$work/options" >"$work/common"
    head -n -4 "$work/options" | sed "s/^/$command: /" >>"$work/is"
done <"$work/commands"
[ "$(cut -d' ' -f1 "$work/common" | tr '\n' ' ')" = "servers timeout json help " ] || fail "not what all have: $(cat "$work/common")"
cat "$work/common" >>"$work/is"
sed -i 's/.*/\L&/' "$work/is"
awk '/^\.Sh / { on = $2 == "COMMANDS" || $2 == "COMMON"; command = "" }
     on && sub(/^\.It Ic /, "") {
         command = $0
         sub(/ (Ar|Op) .*/, "", command)
         command = command ": "
         gsub(/ Ns \| Ns Ar /, "|")
         gsub(/ \| /, "|")
         if (sub(/ Op (Ar|Cm) /, " ["))
             $0 = $0 "]"
         gsub(/ Ar /, " ")
         print
     }
     on && sub(/^\.It /, "") {
         count = split($0, each, / , /)
         for (i = 1; i <= count; i++) {
             sub(/^Fl -/, "", each[i])
             sub(/ Ar /, " ", each[i])
             print command each[i]
         }
     }' "$man/kithctl.1" >"$work/page"
same "commands and options" 70
# the examples make sense, as far as a command line shows
sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' "$man/kithctl.1" | grep -oE 'kithctl [^|>;]*' >"$work/examples"
[ "$(wc -l <"$work/examples")" -gt 10 ] || fail "not the examples: $(cat "$work/examples")"
while read -r _ line; do
    rc=0 # --help comes behind what is wrong before it
    # shellcheck disable=SC2086 # words
    kithctl $line --help >"$work/said" 2>&1 || rc=$?
    [ $rc = 0 ] || fail "kithctl $line: $(cat "$work/said")"
done <"$work/examples"
pass
