#!/usr/bin/env bash
# Builds the extension for $PG_CONFIG (default: the PostgreSQL inside the environment) and installs it there.
# Does nothing, fast, if what is installed was built from these sources. Run tools/setup.sh first.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$ROOT/tools/system.sh"

choose_venv
[ -e "$VENV/.rustflags" ] || die "the environment is not complete" "run: make setup"
choose_postgres
! extension_is_current || exit 0
take_lock
# A make that we waited for may have done it.
! extension_is_current || exit 0

if [ ! -e "$("$PG_CONFIG" --includedir-server)/postgres.h" ]; then
    [ "$IS_ROOT" = yes ] || die "the server headers of PostgreSQL $PG_MAJOR are missing" \
        "please ask an administrator for: apt-get install postgresql-server-dev-$PG_MAJOR"
    apt_install "postgresql-server-dev-$PG_MAJOR"
fi
for directory in "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)/extension"; do
    [ -w "$directory" ] || die "the extension cannot be installed: $directory is not writable" \
        "run make as a user who may write there, or leave PG_CONFIG unset to use the PostgreSQL in $VENV"
done

build_environment
made_from=$(extension_hash) # before the build, because an editor may save a file during it
rm -f "$STAMPS/$(extension_stamp)"
# Scripts of another version would make functions that this library does not have.
rm -f "$("$PG_CONFIG" --sharedir)/extension"/trails--*.sql
cd "$ROOT/pg_extension"
logged build "building the extension for PostgreSQL $PG_MAJOR (the first time takes minutes)" \
    cargo pgrx install --release --pg-config "$PG_CONFIG" --no-default-features --features "pg$PG_MAJOR"
set_stamp "$(extension_stamp)" "$made_from $(hash_text <"$(extension_library)")"
