# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# packages.sh - for test_packages_*.sh, behind lib.sh: a root to install packages into, on a network of
# its own, and a compiler that remembers what it has compiled for the other kind of packages.

root=$work/root
space=kith-packages-$$
here_mounts=() # below $root, in the order in which they were made

# It is not the build's own: packages are compiled with other flags. The paths of the temporary trees
# and the locale are no reason to compile again.
if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CCACHE_DIR=$KITH_BIN/packages.ccache CCACHE_MAXSIZE=200M
    export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=locale
    unset CCACHE_DISABLE
fi
export TMPDIR=$work # trees of packages, too, go when the test ends

packages_cleanup() {
    local status=$? pid at
    set +e
    jobs -p | xargs -r kill 2>/dev/null
    wait
    if grep -q " $root/mnt " /proc/self/mountinfo; then
        umount -fl "$root/mnt"
    fi
    for pid in /proc/[0-9]*; do # what was started in the root, and no other
        [ "$(readlink "$pid/root" 2>/dev/null)" = "$root" ] && kill -KILL "${pid#/proc/}"
    done
    for ((at = ${#here_mounts[@]} - 1; at >= 0; at--)); do
        umount "${here_mounts[at]}" 2>/dev/null || umount -l "${here_mounts[at]}"
    done
    [ -e "/run/netns/$space" ] && ip netns del "$space"
    if grep -q " ${root}[ /]" /proc/self/mountinfo; then
        say "still mounted below $root: it is left as it is"
        exit 1
    fi
    (exit $status) # for cleanup
    cleanup
}
trap packages_cleanup EXIT

# root_make: the directory, in memory where there is plenty: dpkg waits for the disk at each file
root_make() {
    mkdir -p "$root"
    if [ "$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)" -gt $((3 << 20)) ]; then
        mount -t tmpfs -o size=1500m,mode=755 kith-packages "$root" || skip "nothing can be mounted here"
        here_mounts+=("$root")
    fi
}

# root_open: /proc, /dev and a network with nothing but itself
root_open() {
    local node
    mkdir -p "$root/proc" "$root/dev" "$root/mnt" "$root/tmp"
    mount -t proc proc "$root/proc" || skip "nothing can be mounted here"
    here_mounts+=("$root/proc")
    # a tmpfs of root's that allows devices, whatever the one below does
    mount -t tmpfs -o mode=755 dev "$root/dev"
    here_mounts+=("$root/dev")
    for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
        set -- $node
        mknod -m 666 "$root/dev/$1" c "$2" "$3" || skip "no devices can be made here"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ip netns add "$space" && nsenter --net="/run/netns/$space" ip link set lo up ||
        skip "no network of its own can be made here"
}

# inside COMMAND...: in the root, in its network, with the certificates that lie there
inside() {
    nsenter --net="/run/netns/$space" env -u KITH_CERT chroot "$root" "$@"
}

# insecure_conf: a node for this machine alone, without certificates
insecure_conf() {
    sed -i -e 's/^listen = .*/listen = 127.0.0.1:7070/' -e 's/^#advertise = .*/advertise = 127.0.0.1:7070/' \
        -e 's/^\(cert\|key\|ca\|crl\) = /#&/' -e 's/^#insecure = no/insecure = yes/' "$root/etc/kithfs/kithd.conf"
}
# node_start USER COMMAND...: as the unit has it; until it listens. Sets $node.
node_start() {
    local user=$1
    shift
    rm -f "$root/var/lib/kithfs/address"
    # chroot runs kithd in its own place: $! is its process
    nsenter --net="/run/netns/$space" chroot --userspec="$user:$user" "$root" "$@" 2>>"$work/kithd.log" &
    node=$!
    wait_for 30 "kithd to listen" test -s "$root/var/lib/kithfs/address"
}
node_stop() {
    kill -TERM "$node"
    wait "$node" || fail "kithd ended with $?"
}
serving() {
    inside kithctl status --servers 127.0.0.1:7070
}
