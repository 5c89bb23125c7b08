#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kithd as a service: its configuration file, what it tells systemd, the watchdog, and the unit.
. "$(dirname "$0")/lib.sh"
shipped=$KITH_TOP/packaging/kithd.conf
unit=$KITH_TOP/packaging/systemd/kithd.service

# refused STATUS TEXT ARGUMENT...: kithd ends with this status, and says this
refused() {
    local status=0 want=$1 text=$2
    shift 2
    timeout 20 kithd "$@" >"$work/said" 2>&1 || status=$?
    [ $status = "$want" ] || fail "status $status, not $want: $(cat "$work/said")"
    grep -qF -- "$text" "$work/said" || fail "no '$text' in: $(cat "$work/said")"
}

say "the file that is shipped names every key and no other"
kithd --help | sed -n 's/^  --\([a-z-]*\) .*/\1/p' | grep -vxE 'config|foreground|help' |
    tr - _ | sort >"$work/options"
[ "$(wc -l <"$work/options")" -gt 15 ] || fail "not the options: $(cat "$work/options")"
sed -n 's/^#\?\([a-z_]*\) = .*/\1/p' "$shipped" | sort >"$work/keys"
diff "$work/options" "$work/keys" >"$work/diff" || fail "options (<) and keys (>): $(cat "$work/diff")"

say "what is wrong in a file is named, with the line and the key"
printf '[node]\ndata = %s\nlisten = 127.0.0.1:0\nweigth = 2\n' "$work/d" >"$work/bad.conf"
refused 1 "$work/bad.conf:4: unknown key 'weigth' in [node]; did you mean 'weight'?" \
    --config "$work/bad.conf"
printf '[store]\ncache = plenty\n' >"$work/bad.conf"
refused 1 "$work/bad.conf:2: cache: " --config "$work/bad.conf"
printf '[node\n' >"$work/bad.conf"
refused 1 "$work/bad.conf:1: " --config "$work/bad.conf"
printf '[log]\nlog_level = info\n' >"$work/bad.conf"
refused 1 "data" --config "$work/bad.conf"
refused 1 "$work/none.conf: No such file" --config "$work/none.conf"
[ ! -e "$work/d" ] || fail "a data directory was made"

say "a certificate that is not there, or another's, is named with what to do"
refused 2 "/etc/kithfs.none/node.crt is missing: 'kithctl cert node NAME' makes it" --data "$work/d" \
    --cert /etc/kithfs.none/node.crt --key "$shipped" --ca "$shipped"
if [ "$(id -u)" = 0 ]; then
    : >"$work/node.key"
    chmod 600 "$work/node.key"
    chmod a+x "$work"
    status=0
    setpriv --reuid 65534 --clear-groups "$(type -P kithd)" --data "$work/d" --cert "$shipped" --key "$work/node.key" \
        --ca "$shipped" >"$work/said" 2>&1 || status=$?
    [ $status = 2 ] && grep -qF "$work/node.key cannot be read: Permission denied; where the file is another user's: chown 65534 $work/node.key" "$work/said" ||
        fail "status $status: $(cat "$work/said")"
fi
[ ! -e "$work/d" ] || fail "a data directory was made"

say "every key of it is taken, and options win"
sed -E -e 's/^#([a-z_]+ = )/\1/' -e '/^join = /d' -e 's/^(advertise = ).*/\1127.0.0.1:1/' \
    -e "s|^(log = ).*|\1$work/all.log|" -e 's/^(listen = ).*/\1127.0.0.1:0/' \
    -e "s|/etc/kithfs/|$work/certs/|" "$shipped" >"$work/all.conf"
kithctl init "$work/certs" >"$work/init.out" 2>&1 || fail "$(cat "$work/init.out")"
(umask 077 && head -c 32 /dev/urandom >"$work/certs/store.key")
kithd --config "$work/all.conf" --data "$work/all" &
pid=$!
echo "$pid" >"$work/all.pid"
wait_for 30 "kithd to listen" grep -q listening "$work/all.log"
kill -TERM "$pid"
wait "$pid" || fail "kithd ended with $?: $(cat "$work/all.log")"
rm "$work/all.pid"
[ -n "$(ls -A "$work/all")" ] || fail "no data in $work/all"

say "what systemd is told, and the watchdog"
printf '[node]\ndata = %s\nlisten = 127.0.0.1:0\ninsecure = yes\n' "$work/data" >"$work/kithd.conf"
/usr/bin/python3 "$here/service.py" "$work/kithd.conf" "$work" >"$work/service.log" 2>&1 ||
    fail "service.py: $(cat "$work/service.log")"

say "it lives with the system calls that the unit leaves it"
seq 500000 >"$work/large"
/usr/bin/python3 "$here/allowed_calls.py" "$unit" kithd --config "$work/kithd.conf" --data "$work/few" \
    2>"$work/few.log" &
pid=$!
echo "$pid" >"$work/few.pid"
# over: it listens, or has ended
over() {
    [ -s "$work/few/address" ] || ! kill -0 "$pid"
}
wait_for 30 "kithd to listen" over
if kill -0 "$pid" 2>/dev/null; then
    servers=$(cat "$work/few/address")
    kithctl init "$servers" >"$work/few.out" 2>&1 || fail "$(cat "$work/few.out" "$work/few.log")"
    kv put small value >"$work/few.out" 2>&1 || fail "$(cat "$work/few.out" "$work/few.log")"
    [ "$(kv get small)" = value ] || fail "not what was put: $(cat "$work/few.log")"
    if [ "$(id -u)" = 0 ] && [ -w /dev/fuse ]; then # chunks
        mount_up
        cp "$work/large" "$mnt/large" && sync "$mnt/large" || fail "$(cat "$work/few.log")"
        mount_down
        mount_up
        cmp "$work/large" "$mnt/large" && rm "$mnt/large" || fail "not what was written"
        mount_down
    fi
    kv scrub >"$work/few.out" 2>&1 || fail "$(cat "$work/few.out" "$work/few.log")"
    kill -TERM "$pid"
fi
rc=0
wait "$pid" || rc=$?
rm "$work/few.pid"
case $rc in
0) ;;
77) say "no sets of system calls, or no libseccomp, here: not tested" ;;
159) fail "it made a system call that the unit does not allow" ;;
*) fail "status $rc: $(cat "$work/few.log")" ;;
esac

say "installed without a package"
if [ -f "$KITH_BIN/cmake_install.cmake" ]; then
    for _ in 1 2; do # the second time there is a configuration, which is the administrator's
        DESTDIR=$work/dest cmake --install "$KITH_BIN" >"$work/install.log" 2>&1 || fail "$(cat "$work/install.log")"
        conf=$(find "$work/dest" -path '*/etc/kithfs/kithd.conf')
        echo '# mine' >>"$conf"
    done
    [ "$(grep -c '^# mine' "$conf")" = 2 ] || fail "the configuration was replaced"
    installed=$(find "$work/dest" -name kithd.service)
    read -r program _ at < <(sed -n 's/^ExecStart=//p' "$installed")
    [ -x "$work/dest$program" ] && [ "$work/dest$at" = "$conf" ] || fail "the unit starts $program with $at"
    helper=$(find "$work/dest" -name mount.kithfs)
    [ "$(readlink -f "$helper")" = "$(find "$work/dest" -path '*/bin/kithfs')" ] ||
        fail "mount.kithfs leads to $(readlink -f "$helper")"
else
    say "no build of CMake's: not tested"
fi

say "the unit"
if command -v systemd-analyze >/dev/null; then
    # threshold: tenths
    systemd-analyze security --offline=yes --threshold=30 "$unit" >"$work/unit.log" 2>&1 ||
        fail "$(tail -n 3 "$work/unit.log")"
else
    say "systemd-analyze is not here: its exposure is not judged"
fi
pass
