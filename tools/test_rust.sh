#!/usr/bin/env bash
# The crates' own tests, those that need no server. To be run through tools/in_env.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../pg_extension"
cargo test --quiet --release --manifest-path ../crates/model/Cargo.toml
cargo test --quiet --release --no-default-features --features "pg$PG_MAJOR"
