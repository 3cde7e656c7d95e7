//! Payments over HTTP against pgbench with the same statements, one transaction each.

use std::fmt::Write as _;
use std::fs;

use chrono::{Datelike as _, Utc};
use sheaf_benches::report::Pair;
use sheaf_loadtest::load::closed::{Outcome, Plan, Prepared};
use uuid::Uuid;

use crate::{Bench, Failure};

const CONNECTIONS: usize = 64;
/// Numbers of pgbench's clients; the best one is the peer.
const CLIENTS: [u16; 2] = [16, 64];
/// Invoices that are paid, each many times a little.
const INVOICES: i32 = 10_000;
/// Payments that we prepare for one round: more than a step can do.
const PREPARED: usize = 120_000;
/// Payments a second at which the latency is measured, and its bound in milliseconds.
const PACE: (f64, f64) = (500.0, 100.0);

pub(crate) async fn compare(bench: &Bench) -> Result<Vec<Pair>, Failure> {
    let invoices = fill(bench).await?;
    let script = bench.dir.join("payments.sql");
    fs::write(&script, self::script(&invoices)?)?;
    let mut best = (0, 0.0);
    for clients in CLIENTS {
        let found = bench
            .database
            .pgbench(&script, clients, bench.step / 2)
            .await?;
        eprintln!("compare: payments, pgbench with {clients} clients: {found:.0}/s");
        if found > best.1 {
            best = (clients, found);
        }
    }
    let (mut ours, mut peer, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        ours.push(step(bench).await?);
        let invoices = fill(bench).await?;
        let paced = Plan {
            rate: Some(PACE.0),
            ..bench.plan(CONNECTIONS, requests(bench, &invoices, "b")?)?
        };
        let paced = bench.drive(paced).await?;
        p99.push(paced.p99_ms);
        taken(bench, &paced).await?;
        let invoices = fill(bench).await?;
        fs::write(&script, self::script(&invoices)?)?;
        peer.push(bench.database.pgbench(&script, best.0, bench.step).await?);
        eprintln!(
            "compare: payments, round {round}: {:.0}/s; pgbench {:.0}/s; at 500/s p99 {:.1} ms",
            ours.last().copied().unwrap_or(f64::NAN),
            peer.last().copied().unwrap_or(f64::NAN),
            paced.p99_ms
        );
    }
    let peer_name = format!("pgbench, {} clients", best.0);
    Ok(vec![
        Pair::of("payment", "payments/s", &ours, &peer, &peer_name),
        Pair::bound("payment_p99_ms_at_500", "ms", &p99, PACE.1),
    ])
}

/// Payments a second, on invoices of the step's own.
pub(crate) async fn step(bench: &Bench) -> Result<f64, Failure> {
    let invoices = fill(bench).await?;
    let plan = bench.plan(CONNECTIONS, requests(bench, &invoices, "a")?)?;
    let saturated = bench.drive(plan).await?;
    taken(bench, &saturated).await?;
    eprintln!("compare: payments: p99 {:.0} ms", saturated.p99_ms);
    Ok(saturated.rate)
}

/// Every payment was recorded, and once.
async fn taken(bench: &Bench, outcome: &Outcome) -> Result<(), Failure> {
    let refused = outcome
        .statuses
        .iter()
        .filter(|(status, _)| **status != 201);
    let refused: u64 = refused.map(|(_, n)| n).sum();
    if refused > 0 {
        return Err(format!("{refused} payments were refused").into());
    }
    exact(bench).await
}

/// Open invoices that no payment can settle, and nothing else; tenant and id.
async fn fill(bench: &Bench) -> Result<Vec<(Uuid, Uuid)>, Failure> {
    bench.database.reset().await?;
    let year = i16::try_from(Utc::now().year())?;
    let tenants: Vec<Uuid> = bench.tenants.iter().map(|tenant| tenant.id).collect();
    let client = &bench.database.client;
    let sql = "insert into invoices (tenant_id, id, year, kind, status, currency, issue_date, \
        subtotal, discount_total, \
               tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata, \
               version, created_at, \
               modified_at) \
               select ($1::uuid[])[1 + n % cardinality($1::uuid[])], \
               (overlay(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, \
               '0') \
                placing '-' from 9 for 0) || '-7' || substr(gen_random_uuid()::text, 16))::uuid, \
               $2::smallint, 'invoice', 'issued', 'EUR', current_date, 1000000, 0, 0, 1000000, 0, \
               1000000, 0, 0, '{}', 1, \
               now(), now() from generate_series(1, $3::integer) n";
    client.execute(sql, &[&tenants, &year, &INVOICES]).await?;
    bench.database.analyze().await?;
    let rows = client
        .query(
            "select tenant_id, id from invoices where year = $1",
            &[&year],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Payments of a cent, each with a reference of its own.
fn requests(
    bench: &Bench,
    invoices: &[(Uuid, Uuid)],
    name: &str,
) -> Result<Vec<Prepared>, Failure> {
    let index = |tenant: Uuid| {
        let found = bench.tenants.iter().position(|known| known.id == tenant);
        Ok::<_, Failure>(u32::try_from(found.ok_or("an invoice of no tenant")?)?)
    };
    let mut posts = Vec::with_capacity(PREPARED);
    for (n, (tenant, id)) in invoices.iter().cycle().take(PREPARED).enumerate() {
        let body =
            format!("{{\"reference\":\"{name}{n}\",\"amount\":\"0.01\",\"method\":\"card\"}}");
        let path = format!("/v1/invoices/{id}/payments");
        posts.push((index(*tenant)?, path, body));
    }
    Ok(Prepared::posts(posts, &bench.tenants)?)
}

/// What is paid is the sum of the payments, on every invoice.
async fn exact(bench: &Bench) -> Result<(), Failure> {
    let sums = "select (select sum(amount_paid) from invoices), (select coalesce(sum(amount), 0) \
        from payments)";
    let row = bench.database.client.query_one(sums, &[]).await?;
    let (paid, payments): (sheaf_model::Decimal, sheaf_model::Decimal) = (row.get(0), row.get(1));
    if paid == payments {
        Ok(())
    } else {
        Err(format!("{paid} are paid, but the payments are {payments}").into())
    }
}

fn script(invoices: &[(Uuid, Uuid)]) -> Result<String, Failure> {
    let list =
        |of: fn(&(Uuid, Uuid)) -> String| invoices.iter().map(of).collect::<Vec<_>>().join(",");
    let year = Utc::now().year();
    let mut script = String::new();
    let out = &mut script;
    writeln!(out, "\\set r random(1, {})", invoices.len())?;
    writeln!(
        out,
        "select tenants[:r] as t, ids[:r] as i, gen_random_uuid() as p, gen_random_uuid() as e \
        from \
         (select '{{{}}}'::uuid[] as tenants, '{{{}}}'::uuid[] as ids) as made \\gset",
        list(|(tenant, _)| tenant.to_string()),
        list(|(_, id)| id.to_string())
    )?;
    let key = format!("tenant_id = :t and year = {year}");
    writeln!(out, "begin;")?;
    writeln!(
        out,
        "select id, number, kind, status, currency, customer_id, issue_date, due_date, subtotal, \
        discount_total, tax_total, \
         total, amount_paid, amount_due, metadata, version from invoices where {key} and id = :i \
         for update;"
    )?;
    writeln!(
        out,
        "select sku, description, quantity, unit_price, net, tax from invoice_lines where {key} \
        and invoice_id = :i order by line_no;"
    )?;
    writeln!(
        out,
        "select id, reference, amount, paid_on, method, kind from payments where {key} and \
        invoice_id = :i order by id;"
    )?;
    writeln!(
        out,
        "update invoices set amount_paid = amount_paid + 0.01, amount_due = amount_due - 0.01, \
        status = 'partially_paid', \
         payment_count = payment_count + 1, version = version + 1, modified_at = current_timestamp \
         where {key} and id = :i;"
    )?;
    writeln!(
        out,
        "insert into payments (tenant_id, invoice_id, id, year, reference, amount, paid_on, \
        method, created_at) \
         values (:t, :i, :p, {year}, :p::text, 0.01, current_date, 'card', current_timestamp);"
    )?;
    writeln!(
        out,
        "insert into events (tenant_id, subject_id, id, year, event_type, actor, request_id, data, \
        created_at) values \
         (:t, :i, :e, {year}, 'payment.recorded', 'api_key:00000000-0000-0000-0000-000000000000', \
         :e::text, \
         '{{\"version\": 2, \"changes\": {{\"status\": {{\"old\": \"issued\", \"new\": \
         \"partially_paid\"}}, \
         \"amount_paid\": {{\"old\": \"0.00\", \"new\": \"0.01\"}}}}, \"payment\": {{\"amount\": \
         \"0.01\"}}}}', \
         current_timestamp);"
    )?;
    writeln!(out, "commit;")?;
    Ok(script)
}
