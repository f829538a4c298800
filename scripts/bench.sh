#!/usr/bin/env bash
# Measures the release binary, and moto beside it in the same run. STRONGROOM_FIGURES names some of the figures (start,
# describe, tags, pages, copies, keys, sign, payload, soak); the soak takes STRONGROOM_SOAK_SECONDS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/needs.sh
needs_rust
needs cc=gcc,libc6-dev python3=python3 python3-venv=python3-venv
moto=$PWD/target/tools/moto
if [ ! -x "$moto/bin/moto_server" ]; then
    python3 -m venv "$moto"
    "$moto/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
fi
STRONGROOM_MOTO=$moto/bin/moto_server cargo bench --locked --package strongroom --bench figures
