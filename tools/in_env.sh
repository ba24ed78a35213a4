#!/usr/bin/env bash
# Runs a command in Trails' environment: its Python first in PATH, cargo set up, PG_CONFIG naming the server to use.
# While it runs, no other clone can replace the installed package or extension; with --as-is it takes what is there.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

as_is=no
[ "${1:-}" != --as-is ] || { as_is=yes && shift; }
[ $# -gt 0 ] || die "usage: tools/in_env.sh [--as-is] COMMAND [ARGUMENT ...]"

choose_venv
[ -e "$VENV/.rustflags" ] || die "the environment is not complete" "run: make setup"
choose_postgres
if [ "$as_is" = no ] && [ -z "${TRAILS_LOCK_HELD:-}" ]; then
    exec 9>"$TRAILS_HOME/lock"
    tries=0
    until take_turn --shared && package_is_current && extension_is_current; do
        # Another clone's make came in between.
        flock -u 9
        [ $((tries += 1)) -le 3 ] || die "other makes keep replacing what is in $TRAILS_HOME" "set TRAILS_HOME to another directory"
        "$ROOT/tools/setup.sh"
        "$ROOT/tools/build.sh"
    done
    export TRAILS_LOCK_HELD=$TRAILS_HOME
    build_environment
    # Ctrl-C is for the command, which may want to end in order. Servers that it leaves running must not hold the lock.
    trap : INT
    status=0
    "$@" 9>&- || status=$?
    exit "$status"
fi
build_environment
exec "$@"
