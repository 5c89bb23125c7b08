#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The Debian packages: what is in them, and their life on a clean system: installed, a node as the
# packaged user, mounts by mount(8) and fstab, an upgrade, a removal that leaves the data.
. "$(dirname "$0")/lib.sh"
need_fuse
. /etc/os-release
for program in dpkg-buildpackage debootstrap lintian ip nsenter; do
    command -v $program >/dev/null || skip "$program is not installed (packaging/install-deps test)"
done
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' "Created-By: Packages" 2>/dev/null |
    awk -v name="${VERSION_CODENAME:-}" '$2 == name { print $1; exit }')
[ -n "$mirror" ] || skip "apt knows no mirror of this Debian"
. "$here/packages.sh"
packages=$work/packages

# depends PACKAGE NAME...: on each of them, or one whose name so begins (libgrpc29, libgrpc29t64)
depends() {
    local package=$1 name
    shift
    dpkg-deb -f "$packages/${package}"_*.deb Depends | tr ',|' '\n\n' | sed 's/^ *//; s/ .*//' >"$work/depends"
    for name in "$@"; do
        grep -q "^$name" "$work/depends" || fail "$package does not depend on $name, but: $(cat "$work/depends")"
    done
}
# contains PACKAGE PATTERN...: each of them, of a line "MODE OWNER PATH [-> TARGET]", and no other files
# but what every package has
contains() {
    local package=$1 pattern
    shift
    dpkg-deb -c "$packages/${package}"_*.deb >"$packages/contents.$package"
    awk '!/^d/ { print $1, $2, $6, $7, $8 }' "$packages/contents.$package" | sed 's/ *$//' |
        grep -vE ' ./usr/share/(doc|lintian)/' >"$work/contents"
    for pattern in "$@"; do
        grep -qE "^$pattern\$" "$work/contents" || fail "$package: no $pattern in: $(cat "$work/contents")"
        grep -vE "^$pattern\$" "$work/contents" >"$work/rest" || true
        mv "$work/rest" "$work/contents"
    done
    [ ! -s "$work/contents" ] || fail "$package has more: $(cat "$work/contents")"
}
# install VERSION...: of the packages
install_packages() {
    inside env DEBIAN_FRONTEND=noninteractive dpkg -i \
        "/packages/kithfs-client_$1_$arch.deb" "/packages/kithfs-common_$1_$arch.deb" \
        "/packages/kithfs-node_$1_$arch.deb" >"$work/dpkg.log" 2>&1 || fail "dpkg -i: $(tail "$work/dpkg.log")"
}
# what the unit says, of the service that is installed
unit_says() {
    sed -n "s/^$1=//p" "$root/lib/systemd/system/kithd.service"
}
node_up() {
    # shellcheck disable=SC2046 # words
    node_start "$(unit_says User)" $(unit_says ExecStart)
}
# told WORDS: the commands that follow these in the README, in the root, which is each of its machines
told() {
    local line
    awk -v words="$1" 'index($0, words) { on = 1 }
        on && sub(/^    sudo /, "") { sub(/   .*/, ""); print; some = 1; next }
        some { exit }' "$KITH_TOP/README.md" >"$work/told"
    [ -s "$work/told" ] || fail "the README has no commands behind '$1'"
    while IFS= read -r line; do
        case $line in
        systemctl*) node_up ;; # none runs here
        *)
            line=${line/scp /cp } line=${line/root@laptop:/}
            inside sh -c "cd /root && $line" >"$work/said" 2>&1 </dev/null || fail "$line: $(cat "$work/said")"
            ;;
        esac
    done <"$work/told"
}

root_make
say "a clean root, and meanwhile the packages"
debootstrap --variant=minbase "$VERSION_CODENAME" "$root" "$mirror" >"$work/debootstrap.out" 2>&1 &
bootstrap=$!
export DEB_BUILD_OPTIONS=noautodbgsym # debhelper's, and a third of the work
"$KITH_TOP/packaging/build-deb" "$packages" >"$work/build.out" 2>&1 || fail "$(cat "$work/build.out")"
arch=$(dpkg --print-architecture)
version=$(kithd --version | cut -d' ' -f2)
say "built"

completions='-rw-r--r-- root/root ./usr/share/bash-completion/completions'
manual='[-l]rw[^ ]* root/root ./usr/share/man'
contains kithfs-client '-rwxr-xr-x root/root ./usr/bin/kithfs' \
    'lrwxrwxrwx root/root ./usr/sbin/mount(.fuse)?.kithfs -> ../bin/kithfs' \
    "$completions/kithfs" "$manual/man1/kithfs.1.gz" "$manual/man8/mount(.fuse)?.kithfs.8.gz( .*)?"
contains kithfs-node "$completions/kithd" "$manual/man8/kithd.8.gz" "$manual/man5/kithd.conf.5.gz" \
    "$manual/man7/kithd-metrics.7.gz" \
    '-rwxr-xr-x root/root ./usr/sbin/kithd' '-rw-r--r-- root/root ./etc/kithfs/kithd.conf' \
    '-rw-r--r-- root/root ./(usr/)?lib/systemd/system/kithd.service' \
    '-rw-r--r-- root/root ./usr/lib/(sysusers|tmpfiles).d/kithfs-node.conf'
contains kithfs-common '-rwxr-xr-x root/root ./usr/bin/kithctl' "$completions/kithctl" "$manual/man1/kithctl.1.gz" \
    "$manual/man7/kithfs.7.gz"
grep -q '^drwxr-xr-x root/root .* ./etc/kithfs/$' "$packages/contents.kithfs-common" || fail "no directory for certificates"
for page in "$KITH_TOP"/packaging/man/*.[1-9]; do
    [ "$(cat "$packages"/contents.* | grep -c " ./usr/share/man/man${page##*.}/${page##*/}.gz")" = 1 ] ||
        fail "${page##*/} is not in one package"
done
depends kithfs-client fuse3 kithfs-common libfuse3- libgrpc
depends kithfs-node kithfs-common libgrpc libmicrohttpd libsystemd0 libwiredtiger systemd
depends kithfs-common libgrpc libjansson
for package in client common node; do
    [ "$(dpkg-deb -f "$packages/kithfs-${package}_$version-1_$arch.deb" Version)" = "$version-1" ] ||
        fail "the changelog's version is not the programs', $version"
done
lintian -I --pedantic "$packages"/*.changes >"$work/lintian.out" 2>&1 &
lint=$!
say "those of a higher version"
"$KITH_TOP/packaging/build-deb" --version 999.1 "$packages.higher" \
    >"$work/build.out" 2>&1 || fail "$(cat "$work/build.out")"
# all that it says is an error, also of an override that is not needed any more
wait $lint || fail "lintian: $(cat "$work/lintian.out")"
! grep -E '^[EWIP]: ' "$work/lintian.out" >"$work/tags" || fail "lintian: $(cat "$work/tags")"

say "installed"
wait $bootstrap || {
    ! grep -qE 'Failed getting release file|Couldn.t download|Unable to' "$work/debootstrap.out" ||
        skip "$mirror cannot be reached: $(tail -n 1 "$work/debootstrap.out")"
    fail "debootstrap: $(tail "$work/debootstrap.out")"
}
root_open
mkdir "$root/packages"
cp "$packages"{,.higher}/kithfs-{client,common,node}_*.deb "$root/packages"
printf 'force-unsafe-io\n' >"$root/etc/dpkg/dpkg.cfg.d/test"
chroot "$root" sh -c "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
    --no-install-recommends /packages/*_$version-1_*.deb" >"$work/apt.out" 2>&1 ||
    fail "apt-get install: $(tail "$work/apt.out")"
[ "$(inside stat -c '%U %G %a' /var/lib/kithfs)" = "kithfs kithfs 750" ] ||
    fail "/var/lib/kithfs: $(inside stat -c '%U %G %a' /var/lib/kithfs)"
inside getent passwd kithfs | grep -q '/nologin$' || fail "the user kithfs: $(inside getent passwd kithfs)"
[ "$(systemctl --root="$root" is-enabled kithd.service)" = disabled ] || fail "the service is enabled"
inside systemd-analyze verify --man=no kithd.service >"$work/verify" 2>&1 || fail "$(cat "$work/verify")"
! grep kithd "$work/verify" || fail "the unit is not well formed"
[ "$(inside kithctl --version)" = "kithctl $version" ] || fail "$(inside kithctl --version)"

say "a node, as the README has it, and as the unit runs it"
echo '127.0.0.1 n1' >>"$root/etc/hosts"
sed -i -e 's/^#advertise = .*/advertise = n1:7070/' "$root/etc/kithfs/kithd.conf"
told 'On the first one, `n1`'
[ "$(stat -c %u "/proc/$node")" = "$(inside id -u kithfs)" ] || fail "kithd is not run by kithfs"
wait_for 30 "the cluster" serving
told 'such as `laptop`'
inside sh -c 'rm /etc/kithfs/admin.*' # it is a machine that only mounts

say "mount -t kithfs, and -t fuse.kithfs, and by fstab, as a user, too"
inside mount -f -v -t kithfs 127.0.0.1:/ /mnt || fail "mount -f"
! grep " $root/mnt " /proc/self/mountinfo || fail "mount -f has mounted"
inside mount -v -t kithfs 127.0.0.1:/ /mnt -o allow_other,relatime,nodiratime >/dev/null || fail "mount -t kithfs"
grep -q " $root/mnt rw,nosuid,nodev,.* - fuse.kithfs 127.0.0.1:7070:/ " /proc/self/mountinfo ||
    fail "$(grep " $root/mnt " /proc/self/mountinfo)"
cp -a "$root/usr/share/doc" "$root/mnt/doc"
inside umount /mnt
inside mount -s -t fuse.kithfs 127.0.0.1:/ /mnt -o noexec,nobody_knows_this || fail "mount -t fuse.kithfs"
grep -q " $root/mnt rw,nosuid,nodev,noexec,.* - fuse.kithfs " /proc/self/mountinfo ||
    fail "$(grep " $root/mnt " /proc/self/mountinfo)"
same_tree "$root/usr/share/doc" "$root/mnt/doc"
inside umount /mnt
echo '127.0.0.1,127.0.0.1:7070:/doc /mnt kithfs defaults,ro,relatime,user,noauto,_netdev,nofail,x-systemd.automount 0 0' >"$root/etc/fstab"
chmod 600 "$root"/etc/kithfs/client.crt # the system's own
inside useradd --create-home anna
inside chown anna /mnt
inside sh -c 'cd /home/anna && mkdir .config && mv /root/laptop .config/kithfs && chown -R anna .config'
as_anna() {
    inside setpriv --reuid anna --regid anna --clear-groups "$@"
}
! as_anna env HOME=/home/anna kithfs 127.0.0.1:/ /mnt -o allow_other 2>"$work/said" || fail "a user opens his mount to others"
grep -q '^kithfs: .*user_allow_other in /etc/fuse.conf' "$work/said" || fail "it does not say why: $(cat "$work/said")"
as_anna mount /mnt 2>"$work/said" || fail "mount by fstab as a user: $(cat "$work/said")"
as_anna diff -r --no-dereference /usr/share/doc/fuse3 /mnt/fuse3 || fail "by fstab, as a user: not what was written"
! ls "$root/mnt" >/dev/null 2>&1 || fail "a user's mount is open to others"
as_anna umount /mnt || fail "umount by a user"
inside mount /mnt || fail "mount by fstab"
diff -r --no-dereference "$root/usr/share/doc" "$root/mnt" >/dev/null || fail "by fstab: not what was written"
! touch "$root/mnt/file" 2>/dev/null || fail "written to a mount that is read-only"

say "an upgrade"
install_packages 999.1-1
[ "$(inside kithd --version)" = "kithd 999.1" ] || fail "$(inside kithd --version)"
grep -q '^advertise = n1:7070' "$root/etc/kithfs/kithd.conf" || fail "the configuration was changed"
diff -r --no-dereference "$root/usr/share/doc/fuse3" "$root/mnt/fuse3" || fail "the mount did not go on"
# no systemd runs here: what it would be told is done by hand
grep -q "deb-systemd-invoke try-restart 'kithd.service'" "$root/var/lib/dpkg/info/kithfs-node.postinst" ||
    fail "an upgrade does not restart the service"
grep -q 'deb-systemd-invoke stop kithd.service' "$root/var/lib/dpkg/info/kithfs-node.prerm" ||
    fail "a removal does not stop the service"
[ ! -e "$root/var/lib/dpkg/info/kithfs-node.preinst" ] || fail "an upgrade stops the service first"
node_stop
node_up
wait_for 30 "the cluster" serving
inside kithctl status --servers 127.0.0.1:7070 | grep -q ' 999\.1$' || fail "$(serving)"
diff -r --no-dereference "$root/usr/share/doc/fuse3" "$root/mnt/fuse3" || fail "the mount did not go on"
inside umount /mnt

say "removed"
node_stop
inside dpkg --purge kithfs-node kithfs-client kithfs-common >"$work/dpkg.log" 2>&1 || fail "$(tail "$work/dpkg.log")"
! grep -i warning "$work/dpkg.log" | grep -v "'/etc/kithfs' not empty" || fail "$(cat "$work/dpkg.log")"
[ ! -e "$root/usr/sbin/kithd" ] && [ ! -e "$root/etc/kithfs/kithd.conf" ] || fail "something is left"
[ -n "$(ls -A "$root/var/lib/kithfs")" ] && [ -e "$root/etc/kithfs/node.key" ] || fail "data or certificates are gone"
install_packages 999.1-1
node_up
wait_for 30 "the cluster" serving
inside mount /mnt || fail "mount by fstab"
diff -r --no-dereference "$root/usr/share/doc/fuse3" "$root/mnt/fuse3" || fail "the data is not what it was"
inside umount /mnt
node_stop
pass
