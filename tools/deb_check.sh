#!/usr/bin/env bash
# Installs dist/*.deb on a bare Debian and does there what a DBA does: set up, select, predict, upgrade, remove, purge.
# As root. The Debian is made by debootstrap, from where this machine's apt has its own, and is gone in the end.
#
#   WHEELS=FOLDER              take Python's packages from a folder of wheels, and download none
#   TRAILS_TORCH_INDEX=ADDRESS PyTorch's CPU-only build
#   OLDER=FOLDER               packages of an older version, which are installed first; else the same ones with an earlier revision
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$ROOT/tools/system.sh"

LIMIT=3600 # seconds for what runs inside

# in_root FOLDER: mounts what a program expects, and becomes the script within. Everything is in namespaces of its own,
# so that neither a mount nor a server outlives this script, however it ends.
if [ "${1:-}" = --in-root ]; then
    cd "$2"
    mount -t proc proc proc
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    [ -z "${WHEELS:-}" ] || { mount --bind "$WHEELS" wheels && WHEELS=/wheels; }
    # Settings may hold a password, and command lines are everybody's to read.
    for name in $(compgen -e); do
        case $name in PIP_* | TRAILS_TORCH_INDEX | WHEELS) ;; *) unset "$name" ;; esac
    done
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
    exec chroot . bash /check
fi

[ "$IS_ROOT" = yes ] || die "this check makes a Debian of its own, which only root can"
command -v debootstrap >/dev/null || apt_install debootstrap
version=$(dpkg-parsechangelog --file "$ROOT/debian/changelog" --show-field Version)
packages=("$ROOT"/dist/*trails_"$version"_*.deb)
[ -e "${packages[0]}" ] || die "dist has no packages of $version" "run: make deb"

# The release that this machine runs, and where its apt has it from.
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 'Created-By: Packages' |
    sed -n "s/^$release main //p" | head -n 1)
[ -n "$mirror" ] || die "apt of this machine has no main component of $release"

bare=$(mktemp -d "${TMPDIR:-/var/tmp}/trails-deb-check.XXXXXX")
trap 'rm -rf --one-file-system "$bare"' EXIT
chmod 755 "$bare"
logged debootstrap "making a bare Debian ($release)" debootstrap --variant=minbase "$release" "$bare" "$mirror"

# apt and pip find inside what they find outside.
rm -rf "$bare"/etc/apt/sources.list "$bare"/etc/apt/sources.list.d
cp -r /etc/apt/sources.list.d "$bare/etc/apt/"
for file in /etc/apt/sources.list /etc/apt/apt.conf.d/* /etc/apt/auth.conf.d/* /etc/pip.conf /etc/resolv.conf /etc/hosts \
    "${PIP_CERT:-}"; do
    [ ! -f "$file" ] || { mkdir -p "$bare$(dirname "$file")" && cp -L "$file" "$bare$file"; }
done
mkdir "$bare/packages" "$bare/older" "$bare/wheels"
cp "${packages[@]}" "$bare/packages/"
if [ -n "${OLDER:-}" ]; then
    cp "$OLDER"/*trails_*.deb "$bare/older/"
else
    # The same with an earlier revision: apt sees an upgrade, and the extension must not.
    for package in "${packages[@]}"; do
        dpkg-deb --raw-extract "$package" "$bare/older/unpacked"
        sed -i "s/^Version: .*/Version: ${version%-*}-0/; s/trails (= $version)/trails (= ${version%-*}-0)/" \
            "$bare/older/unpacked/DEBIAN/control"
        dpkg-deb --root-owner-group --build "$bare/older/unpacked" "$bare/older/" >/dev/null
        rm -rf "$bare/older/unpacked"
    done
fi
# Nothing starts by itself where there is no init: the check starts the server.
printf '#!/bin/sh\nexit 101\n' >"$bare/usr/sbin/policy-rc.d"
chmod 755 "$bare/usr/sbin/policy-rc.d"
cp "$ROOT/tools/deb_inside.sh" "$bare/check"

export WHEELS=${WHEELS:+$(realpath "$WHEELS")} TRAILS_TORCH_INDEX=${TRAILS_TORCH_INDEX:-}
timeout --kill-after=60 "$LIMIT" unshare --mount --propagation private --pid --fork --kill-child --ipc --uts \
    bash "${BASH_SOURCE[0]}" --in-root "$bare" 9>&- </dev/null
say "the packages $version do what they should"
