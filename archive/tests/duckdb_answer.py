"""One question to DuckDB over a directory of archive objects: rows and median time as JSON."""

import datetime
import decimal
import json
import statistics
import sys
import time

import duckdb

directory, sql, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = duckdb.connect()
connection.execute(
    f"create view src as select * from read_parquet('{directory}/v1/invoices/*/*/*/*.parquet',"
    " hive_partitioning = true, hive_types = {'year': INT, 'month': INT})"
)


def plain(value):
    """As the API writes it: decimals and dates are strings."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


times, rows = [], []
for _ in range(rounds + 1):
    began = time.perf_counter()
    rows = connection.execute(sql).fetchall()
    times.append((time.perf_counter() - began) * 1000)
print(
    json.dumps(
        {
            "rows": [[plain(value) for value in row] for row in rows],
            "median_ms": statistics.median(times[1:]),
        }
    )
)
