#!/usr/bin/env bash
# Runs every test of the workspace, with nextest where it is there, beside a PostgreSQL server of their own. Nothing is
# printed after the runner's own summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=(cargo test --locked --workspace --no-fail-fast)
if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run --locked --workspace --no-fail-fast)
fi
exec scripts/postgres.sh "${run[@]}"
