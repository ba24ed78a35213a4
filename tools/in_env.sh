#!/usr/bin/env bash
# Runs a command in Trails' environment: its Python first in PATH, cargo set up, PG_CONFIG naming the server to use.
# While it runs, no other clone can replace the installed package or extension; with --as-is it takes what is there.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
REPLACED=199 # exit status: what is installed is not made from this clone's sources

usage="usage: tools/in_env.sh [--as-is] COMMAND [ARGUMENT ...]"
if [ "${1:-}" = --as-is ]; then
    shift
elif [ -z "${TRAILS_LOCK_HELD:-}" ]; then
    [ $# -gt 0 ] || die "$usage"
    for _ in 1 2 3; do
        (flock -n -s 9 || say "waiting for another make that uses $TRAILS_HOME ...") 9>"$TRAILS_HOME/lock"
        # -o: servers that the command leaves running must not hold the lock.
        status=0
        flock -s -o "$TRAILS_HOME/lock" env TRAILS_LOCK_HELD="$TRAILS_HOME" "$0" "$@" || status=$?
        [ "$status" = "$REPLACED" ] || exit "$status"
        # Another clone's make came in between.
        "$ROOT/tools/setup.sh"
        "$ROOT/tools/build.sh"
    done
    die "other makes keep replacing what is installed in $TRAILS_HOME" "give this clone its own: TRAILS_HOME=..."
else
    choose_venv
    choose_postgres
    package_is_current && extension_is_current || exit "$REPLACED"
fi
[ $# -gt 0 ] || die "$usage"
choose_venv
[ -e "$VENV/.rustflags" ] || die "the environment is not complete" "run: make setup"
choose_postgres
build_environment
exec "$@"
