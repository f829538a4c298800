#!/usr/bin/env bash
# Runs every test of the workspace, with nextest where it is there. Nothing is printed after the runner's own summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --workspace --no-fail-fast
fi
exec cargo test --locked --workspace --no-fail-fast
