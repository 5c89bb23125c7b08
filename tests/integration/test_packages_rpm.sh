#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The RPM packages: what is in them and what they ask for, and that they work where nothing else is:
# in a root with a shell, the libraries that they name, and their own files.
#
# There is no Fedora here: its packages are not known to the database in the root, so what is required of
# them is compared with a list, and installed is without it (--nodeps).
. "$(dirname "$0")/lib.sh"
need_fuse
for program in rpmbuild rpm ip nsenter; do
    command -v $program >/dev/null || skip "$program is not installed (packaging/install-deps test)"
done
. "$here/packages.sh"
packages=$work/packages
quiet() {
    "$@" 2>/dev/null # Debian's rpm warns of its database
}
ours() {
    rpm --root "$root" "$@" >"$work/rpm.log" 2>&1 || fail "rpm $*: $(cat "$work/rpm.log")"
}

# has WHAT PACKAGE WORD...: among its --requires, --provides
has() {
    local what=$1 package=$2 word
    shift 2
    quiet rpm -qp "--$what" "$packages/kithfs-$package-$version-1"*.rpm >"$work/list"
    for word in "$@"; do
        grep -qxF "$word" "$work/list" || fail "$package: no '$word' in --$what: $(cat "$work/list")"
    done
}
# files PACKAGE PATH...: these and no other but documents and what RPM itself adds. Manuals are compressed
# on some systems.
files() {
    local package=$1
    shift
    quiet rpm -qpl "$packages/kithfs-$package-$version-1"*.rpm | sed '/^\/usr\/share\/man\//s/\.gz$//' | sort |
        grep -vE '^/usr/(lib/.build-id|share/(doc|licenses)/)' >"$work/list"
    printf '%s\n' "$@" | sort | diff - "$work/list" >"$work/diff" ||
        fail "$package: wanted (<) and there (>): $(cat "$work/diff")"
}

# the flags of the Debian packages: what was compiled for them need not be compiled again
flags=()
command -v dpkg-buildflags >/dev/null &&
    flags=(--define "optflags $(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get CFLAGS) $(
        dpkg-buildflags --get CPPFLAGS)")
version=$(kithd --version | cut -d' ' -f2)
say "built"
"$KITH_TOP/packaging/build-rpm" "$packages" "${flags[@]}" >"$work/build.out" 2>&1 || fail "$(cat "$work/build.out")"

say "what they are"
isa=$(rpm --eval '%{?_isa}')
has requires client fuse3 "kithfs-common$isa = $version-1" 'libfuse3.so.3()(64bit)'
has requires node "kithfs-common$isa = $version-1" 'libsystemd.so.0()(64bit)' 'config(kithfs-node) = '"$version-1"
! grep -i wiredtiger "$work/list" || fail "kithd wants WiredTiger's library"
has provides node "bundled(wiredtiger) = $(pkg-config --modversion wiredtiger)"
has requires common 'libjansson.so.4()(64bit)'
man=/usr/share/man
completions=/usr/share/bash-completion/completions
files client $completions/kithfs /usr/bin/kithfs /usr/sbin/mount.kithfs /usr/sbin/mount.fuse.kithfs \
    $man/man1/kithfs.1 $man/man8/mount.kithfs.8 $man/man8/mount.fuse.kithfs.8
files common $completions/kithctl /etc/kithfs /usr/bin/kithctl $man/man1/kithctl.1 $man/man7/kithfs.7
files node $completions/kithd $man/man5/kithd.conf.5 $man/man7/kithd-metrics.7 $man/man8/kithd.8 \
    /etc/kithfs/kithd.conf /usr/sbin/kithd /usr/lib/systemd/system/kithd.service \
    /usr/lib/sysusers.d/kithfs.conf /usr/lib/tmpfiles.d/kithfs.conf
[ "$(quiet rpm -qpc "$packages/kithfs-node-"*.rpm)" = /etc/kithfs/kithd.conf ] || fail "no configuration file"
for page in "$KITH_TOP"/packaging/man/*.[1-9]; do
    [ "$(quiet rpm -qpl "$packages"/*64.rpm | grep -c "^/usr/share/man/man${page##*.}/${page##*/}")" = 1 ] ||
        fail "${page##*/} is not in one package"
done
for package in "$packages"/*.rpm; do
    [ "$(quiet rpm -qp --qf '%{LICENSE}' "$package")" = GPL-3.0-or-later ] || fail "$package: the licence"
done
quiet rpm -qpl "$packages/kithfs-$version-1.src.rpm" | sort | tr '\n' ' ' >"$work/list"
[ "$(cat "$work/list")" = "kithfs-$version.tar.gz kithfs.spec " ] || fail "the source: $(cat "$work/list")"
if command -v rpmlint >/dev/null; then
    rpmlint -r "$KITH_TOP/packaging/rpm/kithfs.rpmlintrc" "$packages"/*.rpm >"$work/lint" 2>&1 ||
        fail "rpmlint: $(cat "$work/lint")"
    grep -q ' 0 errors, 0 warnings' "$work/lint" || fail "rpmlint: $(cat "$work/lint")"
fi

say "installed where there is next to nothing"
root_make
root_open
mkdir -p "$root"/{usr/bin,usr/sbin,etc,run,var/lib}
ln -s usr/bin "$root/bin"
ln -s usr/sbin "$root/sbin"
cp /bin/dash "$root/bin/sh"
# the libraries by which the packages are linked, and the loader
ldd "$KITH_BIN"/kith{d,fs,ctl} /bin/sh | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) .*/\1/p' |
    sort -u | grep -v wiredtiger >"$work/libraries"
while read -r library; do
    install -D "$(readlink -f "$library")" "$root$library"
done <"$work/libraries"
ours --initdb
ours -i --nodeps "$packages"/kithfs-{client,common,node}-*64.rpm
! grep -i 'scriptlet failed' "$work/rpm.log" || fail "$(cat "$work/rpm.log")"
quiet rpm --root "$root" -V --nodeps kithfs-client kithfs-common kithfs-node ||
    fail "not as it was packaged: $(rpm --root "$root" -V --nodeps kithfs-node)"
for program in kithd kithfs kithctl; do
    [ "$(inside $program --version)" = "$program $version" ] || fail "$(inside $program --version)"
done

say "what the scripts call, where it is"
ours -e kithfs-client kithfs-common kithfs-node
[ ! -e "$root/usr/sbin/kithd" ] && [ ! -e "$root/etc/kithfs/kithd.conf" ] || fail "something is left"
for program in systemd-sysusers systemd-tmpfiles systemctl; do
    printf '#!/bin/sh\necho "%s $*" >>/calls\n' $program >"$root/bin/$program"
    chmod +x "$root/bin/$program"
done
mkdir -p "$root/run/systemd/system"
# calls WANT...: these and no other, since it was asked last
calls() {
    printf '%s\n' "$@" | diff - "$root/calls" >"$work/diff" || fail "wanted (<) and called (>): $(cat "$work/diff")"
    rm "$root/calls"
}
ours -i --nodeps "$packages"/kithfs-{client,common,node}-*64.rpm
calls 'systemd-sysusers kithfs.conf' 'systemd-tmpfiles --create kithfs.conf' \
    'systemctl --no-reload preset kithd.service'
ours --reinstall --nodeps "$packages"/kithfs-node-*64.rpm # what is left of the other, as in an upgrade
grep -qx 'systemctl try-restart kithd.service' "$root/calls" || fail "no restart: $(cat "$root/calls")"
! grep -E 'disable|stop' "$root/calls" || fail "an upgrade stops the service"
rm "$root/calls"

say "a node, and a mount"
mkdir -m 750 "$root/var/lib/kithfs" # as systemd-tmpfiles would have done it
chown 990:990 "$root/var/lib/kithfs"
sed -i 's/^#advertise = .*/advertise = 127.0.0.1:7070/' "$root/etc/kithfs/kithd.conf"
insecure_conf
node_start 990 /usr/sbin/kithd --config /etc/kithfs/kithd.conf
inside kithctl init 127.0.0.1:7070 >"$work/init.out" 2>&1 || fail "$(cat "$work/init.out")"
wait_for 30 "the cluster" serving
inside /sbin/mount.kithfs 127.0.0.1:/ /mnt -o rw || fail "mount.kithfs"
cp -a "$packages" "$root/mnt/packages"
same_tree "$packages" "$root/mnt/packages"
umount "$root/mnt"
node_stop

ours -e kithfs-client kithfs-common kithfs-node
calls 'systemctl --no-reload disable --now kithd.service' 'systemctl daemon-reload'
[ -n "$(ls -A "$root/var/lib/kithfs")" ] || fail "the data is gone"
pass
