#!/usr/bin/env bash
# Builds Debian packages from what is tracked, into dist/: the extension for each server whose headers are installed
# (PG_SUPPORTED_VERSIONS="15 17" names them), and the Python side. Run tools/setup.sh first.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$ROOT/tools/system.sh"

# The library embeds Debian's interpreter, and none that a user has.
export PYTHON=/usr/bin/python3
choose_venv
[ -e "$VENV/.rustflags" ] || die "the environment is not complete" "run: make setup"

export PG_SUPPORTED_VERSIONS=${PG_SUPPORTED_VERSIONS:-installed}
missing=()
command -v dpkg-buildpackage >/dev/null || missing+=(dpkg-dev)
command -v dh >/dev/null || missing+=(debhelper)
command -v pg_buildext >/dev/null || missing+=(postgresql-server-dev-all)
compgen -G '/usr/include/postgresql/*/server/postgres.h' >/dev/null || missing+=(postgresql-server-dev-all)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$IS_ROOT" = yes ] || die "packages are missing that build packages" \
        "please ask an administrator for: apt-get install ${missing[*]}"
    apt_install "${missing[@]}"
fi

version=$(dpkg-parsechangelog --file "$ROOT/debian/changelog" --show-field Version)
take_lock # the copy is always in the same place, so that cargo finds what it has compiled
build=$TRAILS_HOME/deb
rm -rf "$build"
mkdir -p "$build/trails" "$ROOT/dist"
# The files as they lie there, and none that git does not know. Their times are now: cargo goes by them.
(cd "$ROOT" && git ls-files -z -- ':!bench' ':!benchmarks' ':!demo' ':!tests' | tar --null --files-from=- --create) |
    tar --extract --touch --directory "$build/trails"
cd "$build/trails"
pg_buildext updatecontrol
logged deb "building the Debian packages $version (the first time takes minutes)" dpkg-buildpackage --build=binary --no-sign
for package in "$build"/*.deb; do
    cp "$package" "$ROOT/dist/"
    say "dist/$(basename "$package"), $(($(stat -c %s "$package") / 1000)) kB"
done
rm -rf "$build"
