#!/bin/sh
# capacity.sh [targets|knee|costs|years|small]...: measures anew what docs/capacity.md says, all of it in about an hour and a half.
# Do nothing else on the machine meanwhile. Writes target/capacity/. Needs Citus, psql, and target/release/sheaf and sheaf-loadtest.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/target/release:$PATH"
# What the generator may be late itself, milliseconds: more than 5 says that the machine is noisy, and blurs short latencies.
lag=${MAX_LAG:-5}
mkdir -p target/capacity
cd target/capacity

cat >probe.sh <<'END'
# CPU of Sheaf, PostgreSQL and S3: the process tree of `sheaf up`, ended processes included.
cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$SHEAF_PID" -v hz="$(getconf CLK_TCK)" '
  { pid = $1; sub(/.*\) /, ""); parent[pid] = $2; cpu[pid] = $12 + $13 + $14 + $15 }
  END { for (pid in cpu) for (p = pid; p in parent; p = parent[p]) if (p == root) { sum += cpu[pid]; break }
        print "cpu_s", sum / hz }'
psql "$SHEAF_DATABASE_URL" -qAtF ' ' <<'SQL'
select 'wal_bytes', sum(result::numeric) from run_command_on_all_nodes($$select pg_current_wal_lsn() - '0/0'::pg_lsn$$);
select 'hot_bytes', sum(citus_total_relation_size(logicalrelid)) from pg_dist_partition where logicalrelid::text not like 'archive\_%';
select 'catalog_bytes', sum(citus_total_relation_size(logicalrelid)) from pg_dist_partition where logicalrelid::text like 'archive\_%';
select 'catalog_rows', count(*) from archive_files;
select 'archive_bytes', coalesce(sum(bytes), 0) from archive_files where state = 'published';
select 'archived_invoices', coalesce(sum(invoices), 0) from archive_files where state = 'published';
select 'hot_invoices', count(*) from invoices;
SQL
END

down() {
    [ -z "${SHEAF_PID:-}" ] || { kill "$SHEAF_PID" 2>/dev/null || true; wait "$SHEAF_PID" 2>/dev/null || true; rm -rf "$data"; }
    SHEAF_PID=
}
trap down EXIT
trap 'exit 130' INT TERM

# up WORKERS: a new, empty cluster.
up() {
    down
    data=$(mktemp -d)
    chmod 755 "$data"
    sheaf up --data-dir "$data/sheaf" --port 0 --workers "$1" >"$data/up.log" 2>&1 &
    SHEAF_PID=$!
    export SHEAF_PID
    for _ in $(seq 600); do
        [ -f "$data/sheaf/env" ] && break
        kill -0 "$SHEAF_PID" 2>/dev/null || { cat "$data/up.log"; exit 1; }
        sleep 0.2
    done
    . "$data/sheaf/env"
}

# member NAME: of the JSON in $made.
member() { echo "$made" | sed "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/"; }

# archived INVOICES: ten tenants with so many invoices of 2023 and 2024, most of them settled and archived, and the file `keys`.
# As many more wait in `more.ndjson`.
archived() {
    : >keys
    for n in $(seq 0 9); do
        made=$(sheaf tenant create --name "t$n" --external-id "tenant-0000$n")
        echo "$(member tenant_id) $(member api_key)" >>keys
    done
    sheaf-loadtest generate --invoices "$((2 * $1))" --tenants 10 --years 2 --last-day 2024-12-31 --out both.ndjson
    head -n "$1" both.ndjson >old.ndjson
    tail -n "+$(($1 + 1))" both.ndjson >more.ndjson
    sheaf ingest --platform old.ndjson >/dev/null
    sheaf tier run >tier.json
}

targets() {
    up 2
    archived 100000
    echo "== 100 tenants, 30,000 requests a minute"
    sheaf-loadtest run --rate "${RATE:-500}" --duration 60s --max-lag "$lag" --tenants 100 --json mixed.json --html mixed.html \
        --fail-if 'p99<100ms,errors<0.1%' || echo "exit code $?"
    echo "== beside cold reads"
    sheaf-loadtest run --rate 200 --duration 60s --max-lag "$lag" --keys keys --mix create=20,get_hot=40,get_cold=30,list=10 --json cold.json \
        --fail-if 'get_cold.p99<5s,get_hot.p99<100ms,errors<0.1%' || echo "exit code $?"
    echo "== 100,000 invoices by bulk upload"
    sheaf-loadtest generate --invoices 100000 --tenants 100 --out day.ndjson
    sheaf ingest --platform --create-tenants day.ndjson
}

# Three sweeps of one system that is not new: it holds so many invoices, and a sweep more has gone before. Soon after an upload come vacuum,
# statistics and connections that end. The generator shares its cores: near the knee it is late itself, which makes latencies longer by
# so many milliseconds at most.
knee() {
    up 2
    sheaf-loadtest generate --invoices "${HELD:-500000}" --tenants 100 --out held.ndjson
    sheaf ingest --platform --create-tenants held.ndjson >/dev/null
    psql "$SHEAF_DATABASE_URL" -qc 'vacuum analyze customers, invoices, invoice_lines, payments, events'
    for n in 0 1 2 3; do
        echo "== sweep $n"
        sheaf-loadtest sweep --objective "${OBJECTIVE:-p99<100ms,errors<0.1%}" --start 1000 --step 12s --max-lag "${MAX_LAG:-20}" \
            --json "sweep-$n.json" --html "sweep-$n.html" || echo "exit code $?"
    done
}

costs() {
    for workers in ${WORKERS:-1 2 4}; do
        echo "== costs with $workers workers"
        up "$workers"
        sheaf-loadtest measure --workers "$workers" --rounds "${ROUNDS:-4}" --round 6s --probe 'sh probe.sh' --rate "${MEASURE_RATE:-400}" --json "costs-$workers.json"
        archived 40000
        sheaf ingest --platform more.ndjson >/dev/null
        sheaf-loadtest measure --workers "$workers" --rounds "${ROUNDS:-4}" --round 6s --probe 'sh probe.sh' --operations get_cold --keys keys --rate 400 \
            --tier 'sheaf tier run' --json "cold-$workers.json"
    done
}

years() {
    up 2
    sheaf-loadtest simulate --years 5 --invoices "${INVOICES:-1000000}" --tenants 20 --reads 500 --tier 'sheaf tier run --as-of {date}' \
        --probe 'sh probe.sh' --flat 1.5 --json years.json --html years.html || echo "exit code $?"
}

# Many tenants with next to nothing each: what a file of two invoices costs.
small() {
    up 2
    sheaf-loadtest generate --invoices 12000 --tenants 500 --years 1 --last-day 2024-12-31 --out small.ndjson
    sheaf ingest --platform --create-tenants small.ndjson >/dev/null
    echo "== 500 tenants"
    time sheaf tier run
    sh probe.sh
    time sheaf archive compact
    sheaf archive gc --grace 0s
    sh probe.sh
}

[ $# -gt 0 ] || set -- targets knee costs years small
for part; do "$part"; done
