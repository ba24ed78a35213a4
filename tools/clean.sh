#!/usr/bin/env bash
# Removes build products and caches. The environment and the development server's data stay.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
take_lock
rm -rf "$TRAILS_HOME/target" "$TRAILS_HOME/logs" "$TRAILS_HOME/stamps" "$TRAILS_HOME/debs/files"
cd "$ROOT"
rm -rf pg_extension/target build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis demo/leaderboard.svg demo/leaderboard.png
find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
