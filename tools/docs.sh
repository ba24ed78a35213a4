#!/usr/bin/env bash
# Builds the documents as a static site, into dist/site; a link that leads nowhere is an error. What it needs is installed
# in an environment of its own in $TRAILS_HOME, and nothing else of Trails is needed: neither torch nor a compiler.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=system.sh
source "$ROOT/tools/system.sh"

choose_python
SITE_VENV=$TRAILS_HOME/docs-$({ cat "$ROOT/docs/requirements.txt"; echo "$PYTHON_EXE $PYTHON_XY"; } | hash_text)
if [ ! -e "$SITE_VENV/.complete" ]; then
    take_lock
    rm -rf "$SITE_VENV"
    make_environment "$SITE_VENV"
    logged docs-packages "installing mkdocs and its theme" \
        "$SITE_VENV/bin/python" -m pip install --no-deps --disable-pip-version-check -r "$ROOT/docs/requirements.txt"
    touch "$SITE_VENV/.complete"
fi
cd "$ROOT"
# The theme's makers announce another program whenever it runs.
logged docs "building the site" env NO_MKDOCS_2_WARNING=1 "$SITE_VENV/bin/python" -m mkdocs build --strict
say "dist/site is built. To read and search it: python3 -m http.server --bind 127.0.0.1 --directory dist/site"
