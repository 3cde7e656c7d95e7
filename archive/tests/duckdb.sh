#!/bin/sh
# Real invoices (../shared/data; generated ones where there are none) go into an archive of their own, all of them; then DuckDB
# and Sheaf answer the same SQL over the same objects. Exits with 1 on any difference. Needs target/release/sheaf (or SHEAF)
# and Python's venv; called by `make duckdb`.
set -eu
cd "$(dirname "$0")/../.."
SHEAF=$(realpath "${SHEAF:-target/release/sheaf}")
export SHEAF
python=${SHEAF_PYTHON:-target/duckdb-venv/bin/python}
"$python" -c 'import duckdb' 2>/dev/null || {
    python=target/duckdb-venv/bin/python
    python3 -m venv target/duckdb-venv && target/duckdb-venv/bin/pip -q install duckdb
}
data=$(mktemp -d)
chmod 755 "$data"
"$SHEAF" up --data-dir "$data/sheaf" --port 0 >"$data/up.log" 2>&1 &
up=$!
trap 'kill $up 2>/dev/null || true; wait $up 2>/dev/null || true; rm -rf "$data"' EXIT
trap 'exit 130' INT TERM
for _ in $(seq 600); do
    [ -f "$data/sheaf/env" ] && break
    kill -0 $up 2>/dev/null || { cat "$data/up.log"; exit 1; }
    sleep 0.2
done
. "$data/sheaf/env"
file=${1:-../shared/data/online-retail.ndjson.gz}
[ -f "$file" ] || {
    file=$data/generated.ndjson
    "$(dirname "$SHEAF")/sheaf-loadtest" generate --invoices 5000 --tenants 5 --years 3 --out "$file"
}
"$python" archive/tests/duckdb_check.py "$(realpath "$file")" "$data/objects"
