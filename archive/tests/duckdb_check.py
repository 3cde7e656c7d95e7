"""Asks DuckDB and Sheaf the same questions over the same archived objects; any difference is an error. See duckdb.sh."""

import datetime
import decimal
import gzip
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

import duckdb

URL, ADMIN = os.environ["SHEAF_URL"], os.environ["SHEAF_ADMIN_KEY"]
SHEAF = os.environ["SHEAF"]
PAGE = pathlib.Path(__file__).parents[2] / "docs/export.md"

# What archive SQL calls lines and payments, over the view `invoices` of docs/export.md.
VIEWS = """
create view lines as select id as invoice_id, kind, currency, customer_external_id, customer_country, issue_date,
    unnest(lines, recursive := true) from invoices;
create view payments as select currency, issue_date, p.* rename (id as payment_id)
    from (select currency, issue_date, unnest(payments) as p from invoices);
"""

# One text for both. Every order is total, so that rows can be compared one by one.
QUESTIONS = {
    "monthly revenue per country": """
        select substr(cast(issue_date as varchar), 1, 7) as month, customer_country, currency, count(*) as documents,
               sum(case when kind = 'invoice' then total else -total end) as revenue, sum(tax_total) as tax
        from invoices group by 1, 2, 3 order by 1, 2, 3""",
    "ten best customers": """
        select customer_external_id, customer_name, currency,
               sum(case when kind = 'invoice' then total else -total end) as revenue, max(total) as largest
        from invoices group by 1, 2, 3 order by revenue desc, 1, 2, 3 limit 10""",
    "share of credit notes": """
        select currency, count(*) as documents, sum(case when kind = 'invoice' then total else 0 end) as invoiced,
               sum(case when kind = 'credit_note' then total else 0 end) as credited,
               cast(100 * sum(case when kind = 'credit_note' then total else 0 end)
                    / nullif(sum(case when kind = 'invoice' then total else 0 end), 0) as decimal(9, 2)) as percent
        from invoices group by 1 order by 1""",
    "best sellers by value": """
        select sku, currency, count(*) as lines, sum(quantity) as quantity, sum(net) as net
        from lines where kind = 'invoice' group by 1, 2 order by net desc, 1, 2 limit 50""",
    "quantity x price of every line": """
        select invoice_id, line_no, quantity * unit_price as exact, net, tax
        from lines order by 1, 2""",
    "lines against their invoices": """
        select i.id, i.subtotal, sum(l.net) as net, i.tax_total, sum(l.tax) as tax, count(*) as lines
        from invoices i join lines l on l.invoice_id = i.id
        group by 1, 2, 4 order by 1""",
    "payments by month and method": """
        select substr(cast(paid_on as varchar), 1, 7) as month, kind, method, currency, count(*) as payments,
               sum(amount) as amount, max(paid_on) as latest
        from payments group by 1, 2, 3, 4 order by 1, 2, 3, 4""",
    "every header": """
        select id, external_id, number, kind, status, currency, customer_id, customer_name, issue_date, due_date,
               subtotal, discount_total, tax_total, total, amount_paid, amount_due, metadata, version
        from invoices order by id""",
}


def call(key, path, body=None):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers)) as answer:
        return json.load(answer)


def listed(key, path):
    cursor = ""
    while cursor is not None:
        page = call(key, f"{path}{'&' if '?' in path else '?'}limit=100{cursor}")
        yield from page["data"]
        cursor = page["next_cursor"] and "&cursor=" + urllib.parse.quote(page["next_cursor"])


def run(*arguments, key=""):
    done = subprocess.run([SHEAF, *arguments], env=os.environ | {"SHEAF_API_KEY": key}, capture_output=True)
    return done.stdout if done.returncode == 0 else sys.exit(f"sheaf {arguments}: {done.stderr.decode()}")


def settle(key):
    """Pays what is owed, and pays credit notes out: only what is settled moves to the archive."""
    for status in ("issued", "partially_paid"):
        for invoice in list(listed(key, f"/v1/invoices?status={status}")):
            step = "refunds" if invoice["kind"] == "credit_note" else "payments"
            payment = {"reference": "settled", "amount": invoice["amount_due"], "method": "card"}
            call(key, f"/v1/invoices/{invoice['id']}/{step}", payment | {"paid_on": invoice["issue_date"]})


def plain(value):
    """As the API writes it: decimals and dates are strings."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def by_duckdb(directory):
    os.chdir(directory)  # the manifest's paths are relative to it
    connection = duckdb.connect()
    connection.execute(PAGE.read_text().split("```sql")[1].split("```")[0])
    connection.execute(VIEWS)
    return {name: [[plain(v) for v in row] for row in connection.execute(sql).fetchall()] for name, sql in QUESTIONS.items()}


def of_the_input(file):
    """Documents and sums by kind and currency, from the input's own lines."""
    sums = {}
    cent = decimal.Decimal("0.01")
    for line in gzip.open(file, "rt") if file.endswith(".gz") else open(file):
        invoice = json.loads(line)
        total = decimal.Decimal(0)
        for item in invoice["lines"]:
            amount = decimal.Decimal(item["quantity"]) * decimal.Decimal(item["unit_price"])
            net = (amount - decimal.Decimal(item.get("discount", 0))).quantize(cent, decimal.ROUND_HALF_UP)
            tax = (net * decimal.Decimal(item.get("tax_rate", 0))).quantize(cent, decimal.ROUND_HALF_UP)
            total += net + tax
        count, sum_ = sums.get((invoice["kind"], invoice["currency"]), (0, 0))
        sums[invoice["kind"], invoice["currency"]] = (count + 1, sum_ + total)
    return sums


def main(file, directory):
    print("ingested:", run("ingest", "--platform", "--create-tenants", file).decode().strip())
    tenants = [t for t in listed(ADMIN, "/v1/tenants") if t["id"] != os.environ["SHEAF_TENANT_ID"]]
    keys = {}
    for tenant in tenants:
        keys[tenant["id"]] = call(ADMIN, f"/v1/tenants/{tenant['id']}/api-keys", {"name": "duckdb"})["api_key"]
        settle(keys[tenant["id"]])
    moved = json.loads(run("tier", "run", "--older-than", "0m", "--as-of", "2199-12-31"))
    print(f"archived: {moved['invoices']} invoices in {moved['units']} objects of {len(tenants)} tenants\n")

    different, tally, sums = [], {name: [0, 0] for name in QUESTIONS}, {}
    for tenant, key in keys.items():
        # One is taken back, so that its row in the object is out of date.
        for one in call(key, "/v1/invoices?tier=cold&limit=1")["data"]:
            call(key, f"/v1/invoices/{one['id']}/recall", {})
        here = pathlib.Path(directory) / tenant
        run("archive", "export", "--format", "parquet", "--download", str(here), key=key)
        theirs = by_duckdb(here)
        for name, sql in QUESTIONS.items():
            ours = call(key, "/v1/archive/query", {"sql": sql, "max_rows": 1_000_000})["rows"]
            tally[name][0] += len(ours)
            if ours != theirs[name]:
                tally[name][1] += 1
                pair = next(((a, b) for a, b in zip(ours, theirs[name]) if a != b), (len(ours), len(theirs[name])))
                different.append(f"{name}, tenant {tenant}: Sheaf {pair[0]}, DuckDB {pair[1]}")
        everything = "select kind, currency, count(*), sum(total) from invoices group by 1, 2"
        for kind, currency, count, total in call(key, "/v1/archive/query", {"sql": everything, "tier": "all"})["rows"]:
            old = sums.get((kind, currency), (0, 0))
            sums[kind, currency] = (old[0] + count, old[1] + decimal.Decimal(total))

    print(f"DuckDB {duckdb.__version__} beside Sheaf         rows  tenants that differ")
    for name, (rows, wrong) in tally.items():
        print(f"{name:<32} {rows:8} {wrong or 'none':>8}")
    print("\nboth tiers beside the input")
    expected = of_the_input(file)
    for kind, currency in sorted(expected | sums):
        told, sent = sums.get((kind, currency), (0, 0)), expected.get((kind, currency), (0, 0))
        print(f"{kind:<12} {currency} {told[0]:8} {told[1]:16,.2f}  {'equal' if told == sent else f'NOT {sent}'}")
        if told != sent:
            different.append(f"{kind} {currency}: {told}, sent were {sent}")
    print("\n".join(["", *different]) if different else "\nequal to the penny")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
