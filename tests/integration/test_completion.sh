#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What bash completes for kithctl, kithd and kithfs, in a terminal: commands, options, values and files, as
# far as the programs' --help tells.
. "$(dirname "$0")/lib.sh"
completions=$KITH_TOP/packaging/completions
mkdir -p "$work/in/dir"
touch "$work/in/file.txt"

# of each line what it is to become; "kithctl " becomes all commands, and so on
cat >"$work/cases" <<'CASES'
kithctl st => kithctl status
kithctl plan re => kithctl plan replace revert
kithctl nonsense -- => kithctl nonsense --
kithctl plan nonsense -- => kithctl plan nonsense --
kithctl plan apply --acc => kithctl plan apply --accept-loss
kithctl status --w => kithctl status --watch
kithctl status --ser => kithctl status --servers
kithctl status --servers n => kithctl status --servers n
kithctl put k --level  => kithctl put k --level all each-quorum local-quorum one quorum
kithctl put k --level=lo => kithctl put k --level=local-quorum
kithctl put k --file f => kithctl put k --file file.txt
kithctl put k --file=f => kithctl put k --file=file.txt
kithctl resolve file.txt --tool kithf => kithctl resolve file.txt --tool kithfs
kithctl backup d --k => kithctl backup d --keep
kithctl backup d => kithctl backup dir
kithctl scrub s => kithctl scrub start status stop
kithctl resolve fi => kithctl resolve file.txt
kithctl local up d => kithctl local up dir
kithctl local up f => kithctl local up f
kithctl get f => kithctl get f
kithctl cert client laptop --out d => kithctl cert client laptop --out dir
kithctl cert client laptop --volume -- => kithctl cert client laptop --volume --
kithd --disk => kithd --disk-full --disk-low --disk-scarce
kithd --ver => kithd --version
kithd --log-level  => kithd --log-level debug error info warn
kithd --log-level=w => kithd --log-level=warn
kithd --data d => kithd --data dir
kithd --data f => kithd --data f
kithd --config f => kithd --config file.txt
kithd --zone f => kithd --zone f
kithfs n1:/ d => kithfs n1:/ dir
kithfs d => kithfs d
kithfs n1:/ dir -o mount => kithfs n1:/ dir -o mount_timeout=
kithfs n1:/ dir -o ro,conf => kithfs n1:/ dir -o ro,conflict_names= ro,conflicts=
kithfs n1:/ dir -o conflicts=hide,now => kithfs n1:/ dir -o conflicts=hide,nowatch
kithfs n1:/ dir -o ro,log=fi => kithfs n1:/ dir -o ro,log=file.txt
kithfs n1:/ dir -o on_conflict=kithf => kithfs n1:/ dir -o on_conflict=kithfs
kithfs n1:/ dir -o zone=fi => kithfs n1:/ dir -o zone=fi
kithfs --v => kithfs --version
CASES
sed 's/ => .*//' "$work/cases" >"$work/lines"
sed 's/.* => //' "$work/cases" >"$work/wanted"
printf 'kithctl \nkithctl repair limit 1 --\nkithd -\n' >>"$work/lines"
{
    kithctl --help >"$work/help"
    echo "kithctl $( (echo '--help --version' && sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$work/help") |
        tr ' ' '\n' | LC_ALL=C sort -u | paste -sd' ')"
    echo 'kithctl repair limit 1 --help --json --servers --timeout'
    kithd --help >"$work/help"
    echo "kithd $(grep -oE '^  --[a-z-]+(, --[a-z]+)?' "$work/help" | grep -oE -e '--[a-z-]+' | LC_ALL=C sort | paste -sd' ')"
} >>"$work/wanted"
[ "$(tail -n 3 "$work/wanted" | wc -w)" -gt 40 ] || fail "not the commands and options: $(tail -n 3 "$work/wanted")"

timeout 120 /usr/bin/python3 "$here/completion.py" "$work" "$completions"/* <"$work/lines" >"$work/got" ||
    fail "completion.py: $(cat "$work/got")"
diff "$work/wanted" "$work/got" >"$work/diff" || fail "wanted (<) and completed (>): $(cat "$work/diff")"
pass
