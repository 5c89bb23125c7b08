#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A storm of changes at two mounts in the same directories, with files mapped, listed and looked at
# meanwhile: nothing waits for ever for what the kernel is told of the other's changes, and
# afterwards both mounts show the same. KITH_LONG=1: minutes instead of seconds.
. "$(dirname "$0")/lib.sh"
need_fuse

two_mounts_up
seconds=20
[ "${KITH_LONG:-0}" = 1 ] && seconds=300
# no request of a mount takes longer than 10 s (op_timeout); some wait for one before them
timeout $((seconds + 120)) /usr/bin/python3 "$here/storm.py" $seconds 40 "$mnt" "$other" \
    >"$work/storm.log" 2>&1 || fail "the storm: $(tail -n 300 "$work/storm.log")"
say "$(cat "$work/storm.log")"

# shows MOUNT: names, types, sizes and contents
shows() {
    (cd "$1" && find . -mindepth 1 -printf '%p %y %i ' \( -type f -printf '%s ' -exec md5sum {} \; \
        -o -printf '\n' \) | sort)
}
same() {
    shows "$mnt" >"$work/shown" && shows "$other" >"$work/shown2" &&
        cmp -s "$work/shown" "$work/shown2"
}
settled() {
    timeout 60 bash -c "$(declare -f shows same); work=$work mnt=$mnt other=$other; same"
}
SECONDS=0
until settled; do
    [ $SECONDS -lt 60 ] || fail "the mounts differ: $(diff "$work/shown" "$work/shown2" | head -n 20)"
    sleep 0.2
done
[ -s "$work/shown" ] || fail "nothing is there"
say "both show the same $(wc -l <"$work/shown") files and directories"
mount_down
mount_down "$other"
pass
