#!/usr/bin/env bash
# Makes Trails' environment in $TRAILS_HOME: a virtual environment with the locked packages, libpython for linking,
# cargo-pgrx, and the Python package itself. Does nothing, fast, if everything is there already.
# With an argument it only prints: `setup.sh --print venv`.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$ROOT/tools/system.sh"
# shellcheck source-path=SCRIPTDIR source=packages.sh
source "$ROOT/tools/packages.sh"

make_venv() {
    [ ! -e "$VENV/.complete" ] || return 0
    rm -rf "$VENV"
    make_environment "$VENV"
    install_packages
    touch "$VENV/.complete"
}

# The package is copied into the environment: as root, the clone may lie where the server's user cannot read it.
install_package() {
    ! package_is_current || return 0
    local copy stamp made_from
    made_from=$(package_hash)
    stamp=package-$(basename "$VENV")
    rm -f "$STAMPS/$stamp"
    copy=$(mktemp -d)
    cp -r "$ROOT/pyproject.toml" "$ROOT/LICENSE" "$ROOT/python" "$copy/"
    logged package "installing the trails package" "$VENV/bin/python" -m pip install --disable-pip-version-check \
        --no-deps --no-build-isolation --force-reinstall "$copy"
    rm -rf "$copy"
    set_stamp "$stamp" "$made_from"
}

install_cargo_pgrx() {
    local home=$TRAILS_HOME/cargo-pgrx-$PGRX_VERSION
    [ ! -x "$home/bin/cargo-pgrx" ] || return 0
    # Without the default features no OpenSSL headers are needed: rustls is always compiled in.
    logged cargo-pgrx "compiling cargo-pgrx $PGRX_VERSION (about four minutes on two cores, once)" \
        env CARGO_TARGET_DIR="$TRAILS_HOME/target-pgrx" cargo install cargo-pgrx --version "$PGRX_VERSION" \
        --locked --no-default-features --root "$home"
    rm -rf "$TRAILS_HOME/target-pgrx"
}

if [ "${1:-}" = --print ]; then
    choose_venv
    case ${2:-} in
        venv) echo "$VENV" ;;
        home) echo "$TRAILS_HOME" ;;
        pg_config) choose_postgres && echo "$PG_CONFIG" ;;
        *) die "usage: setup.sh [--print venv|home|pg_config]" ;;
    esac
    exit 0
fi

choose_venv
check_torch_index
if [ -e "$VENV/.rustflags" ] && [ -x "$TRAILS_HOME/cargo-pgrx-$PGRX_VERSION/bin/cargo-pgrx" ] && package_is_current; then
    exit 0
fi
take_lock
check_tools
make_venv
provide_libpython
install_package
install_cargo_pgrx
