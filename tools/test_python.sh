#!/usr/bin/env bash
# Runs the Python and SQL tests in two halves of about the same length, side by side: most of them wait for a server or
# train on one core. Arguments are pytest's, and then it runs once. To be run through tools/in_env.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# = 0 ] || exec python -m pytest "$@"

other=$(mktemp)
trap 'rm -f "$other"' EXIT
status=0
python -m pytest -q --durations=25 tests --ignore=tests/sql >"$other" 2>&1 &
python -m pytest -q --durations=25 tests/sql || status=$?
wait $! || status=$?
cat "$other"
exit "$status"
