//! Hot point reads over HTTP against pgbench with three selects an invoice.

use std::fmt::Write as _;
use std::fs;

use chrono::{Datelike as _, Utc};
use sheaf_benches::report::Pair;
use sheaf_loadtest::load::closed::{Plan, Prepared};
use uuid::Uuid;

use crate::{Bench, Failure, ingest};

pub(crate) const CONNECTIONS: usize = 64;
/// Numbers of pgbench's clients; the best one is the peer.
const CLIENTS: [u16; 3] = [8, 16, 64];
/// Invoices that both sides read, at random.
const HOT: i64 = 2_000;
/// Reads of one run of the script; see `creates::BATCH`.
const BATCH: u32 = 10;
/// Hot reads at half of the saturation rate, milliseconds.
const P99_BOUND: f64 = 20.0;

pub(crate) async fn compare(bench: &Bench) -> Result<Vec<Pair>, Failure> {
    ingest::fill(bench).await?;
    let hot = hot(bench).await?;
    let script = bench.dir.join("reads.sql");
    fs::write(&script, self::script(&hot)?)?;
    let requests = requests(bench, &hot)?;

    let mut best = (0, 0.0);
    for clients in CLIENTS {
        let found = rate(
            bench
                .database
                .pgbench(&script, clients, bench.step / 2)
                .await?,
        );
        eprintln!("compare: reads, pgbench with {clients} clients: {found:.0} invoices/s");
        if found > best.1 {
            best = (clients, found);
        }
    }
    let (mut ours, mut peer, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let saturated = bench
            .drive(bench.plan(CONNECTIONS, requests.clone())?)
            .await?;
        ours.push(saturated.rate);
        peer.push(rate(
            bench.database.pgbench(&script, best.0, bench.step).await?,
        ));
        let half = half(saturated.rate);
        let paced = Plan {
            rate: Some(half),
            ..bench.plan(CONNECTIONS, requests.clone())?
        };
        let paced = bench.drive(paced).await?;
        p99.push(paced.p99_ms);
        eprintln!(
            "compare: reads, round {round}: ours {:.0}, pgbench {:.0} invoices/s; at {half:.0}/s \
            p50 {:.1} ms, p99 {:.1} ms",
            saturated.rate,
            peer.last().copied().unwrap_or(f64::NAN),
            paced.p50_ms,
            paced.p99_ms
        );
    }
    let peer_name = format!("pgbench, {} clients", best.0);
    Ok(vec![
        Pair::of("point_read", "invoices/s", &ours, &peer, &peer_name),
        Pair::bound("hot_read_p99_ms_at_half", "ms", &p99, P99_BOUND),
    ])
}

#[allow(clippy::float_arithmetic)]
fn rate(scripts: f64) -> f64 {
    scripts * f64::from(BATCH)
}

#[allow(clippy::float_arithmetic)]
fn half(rate: f64) -> f64 {
    rate / 2.0
}

/// A read of each invoice, by its tenant.
pub(crate) fn requests(bench: &Bench, hot: &[(Uuid, Uuid)]) -> Result<Vec<Prepared>, Failure> {
    let index = |tenant: Uuid| bench.tenants.iter().position(|found| found.id == tenant);
    let mut invoices = Vec::new();
    for (tenant, id) in hot {
        invoices.push((
            u32::try_from(index(*tenant).ok_or("an invoice of no tenant")?)?,
            *id,
        ));
    }
    Ok(Prepared::reads(&invoices, &bench.tenants)?)
}

/// Invoices of this year, of all tenants.
pub(crate) async fn hot(bench: &Bench) -> Result<Vec<(Uuid, Uuid)>, Failure> {
    let year = i16::try_from(Utc::now().year())?;
    let sql = "select tenant_id, id from invoices where year = $1 order by md5(id::text) limit $2";
    let rows = bench.database.client.query(sql, &[&year, &HOT]).await?;
    if rows.is_empty() {
        return Err("there is no invoice of this year to read".into());
    }
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn script(hot: &[(Uuid, Uuid)]) -> Result<String, Failure> {
    let list = |of: fn(&(Uuid, Uuid)) -> String| hot.iter().map(of).collect::<Vec<_>>().join(",");
    let year = Utc::now().year();
    let mut script = String::new();
    let out = &mut script;
    for n in 0..BATCH {
        writeln!(out, "\\set r{n} random(1, {})", hot.len())?;
    }
    let picked: Vec<String> = (0..BATCH)
        .map(|n| format!("tenants[:r{n}] as t{n}, ids[:r{n}] as i{n}"))
        .collect();
    writeln!(out, "select {}", picked.join(", "))?;
    writeln!(
        out,
        "from (select '{{{}}}'::uuid[] as tenants,",
        list(|(tenant, _)| tenant.to_string())
    )?;
    writeln!(
        out,
        "  '{{{}}}'::uuid[] as ids) as made \\gset",
        list(|(_, id)| id.to_string())
    )?;
    for n in 0..BATCH {
        writeln!(
            out,
            "select id, external_id, number, kind, status, currency, customer_id, \
            customer_external_id, customer_name, \
             customer_email, customer_tax_id, customer_address, customer_country, issue_date, \
             due_date, subtotal, \
             discount_total, tax_total, total, amount_paid, amount_due, metadata, version, \
             created_at, modified_at \
             from invoices where tenant_id = :t{n} and year = {year} and id = :i{n};"
        )?;
        writeln!(
            out,
            "select sku, description, quantity, unit_price, discount, tax_rate, net, tax from \
            invoice_lines \
             where tenant_id = :t{n} and year = {year} and invoice_id = :i{n} order by line_no;"
        )?;
        writeln!(
            out,
            "select id, reference, amount, paid_on, method from payments \
             where tenant_id = :t{n} and year = {year} and invoice_id = :i{n} order by id;"
        )?;
    }
    Ok(script)
}
