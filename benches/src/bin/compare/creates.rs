//! Single creates over HTTP against pgbench with the same inserts, one transaction each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use chrono::Utc;
use sheaf_benches::report::Pair;
use sheaf_loadtest::load::closed::Prepared;
use sheaf_loadtest::load::generate::{Form, Generator, Shape};
use sheaf_model::invoice::input::Context;
use sheaf_model::{Invoice, InvoiceInput, TenantId, id};
use uuid::Uuid;

use crate::{Bench, Failure, TENANTS};

/// Connections of our side, by the names of the comparisons.
const CONNECTIONS: [(&str, usize); 2] = [("single_create_512", 512), ("single_create_64", 64)];
/// Numbers of pgbench's clients; the best one is the peer.
const CLIENTS: [u16; 3] = [16, 32, 64];
/// Transactions of one run of the script. It gets their ids and tenants with one statement, so that
/// making them costs the peer next to nothing.
const BATCH: u32 = 10;
/// Requests that we prepare.
pub(crate) const PREPARED: usize = 5_000;

pub(crate) async fn compare(bench: &Bench) -> Result<Vec<Pair>, Failure> {
    let script = bench.dir.join("creates.sql");
    fs::write(&script, self::script(bench)?)?;
    let mut best = (0, 0.0);
    for clients in CLIENTS {
        bench.database.reset().await?;
        let found = rate(
            bench
                .database
                .pgbench(&script, clients, bench.step / 2)
                .await?,
        );
        eprintln!("compare: creates, pgbench with {clients} clients: {found:.0} invoices/s");
        if found > best.1 {
            best = (clients, found);
        }
    }
    let mut generator = Generator::new(Shape::single(1, TENANTS))?;
    let requests = Prepared::creates(&mut generator, &bench.tenants, PREPARED)?;
    let mut ours: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut peer = Vec::new();
    for round in 1..=bench.rounds {
        for (name, connections) in CONNECTIONS {
            let rate = step(bench, connections, &requests).await?;
            ours.entry(name).or_default().push(rate);
            eprintln!("compare: creates, round {round}: {connections} connections {rate:.0}/s");
        }
        bench.database.reset().await?;
        peer.push(rate(
            bench.database.pgbench(&script, best.0, bench.step).await?,
        ));
        eprintln!(
            "compare: creates, round {round}: pgbench {:.0}/s",
            peer.last().copied().unwrap_or(f64::NAN)
        );
    }
    let peer_name = format!("pgbench, {} clients", best.0);
    let pair = |(name, _)| {
        Pair::of(
            name,
            "invoices/s",
            ours.get(name).map_or(&[], Vec::as_slice),
            &peer,
            &peer_name,
        )
    };
    Ok(CONNECTIONS.map(pair).into())
}

/// Creates a second, into empty tables; every answered one is there afterwards.
pub(crate) async fn step(
    bench: &Bench,
    connections: usize,
    requests: &[Prepared],
) -> Result<f64, Failure> {
    bench.database.reset().await?;
    let plan = bench.plan(connections, requests.to_vec())?;
    let outcome = bench.drive(plan).await?;
    audit(bench, &outcome.created).await?;
    eprintln!(
        "compare: creates: p99 {:.0} ms, all {} there",
        outcome.p99_ms,
        outcome.created.len()
    );
    Ok(outcome.rate)
}

/// Invoices per second from runs of the script per second.
#[allow(clippy::float_arithmetic)]
fn rate(scripts: f64) -> f64 {
    scripts * f64::from(BATCH)
}

/// Every answered create is in the tables.
async fn audit(bench: &Bench, created: &[(u32, Uuid)]) -> Result<(), Failure> {
    let tenant = |index: u32| bench.tenants.get(index as usize).map(|tenant| tenant.id);
    let created: Vec<(Uuid, Uuid)> = created
        .iter()
        .filter_map(|(index, id)| Some((tenant(*index)?, *id)))
        .collect();
    match bench.database.missing(&created).await? {
        _ if created.is_empty() => Err("no create was answered".into()),
        0 => Ok(()),
        missing => Err(format!(
            "{missing} of {} answered creates are missing",
            created.len()
        )
        .into()),
    }
}

/// The same rows as ours, taken from an invoice that the model made of a generated one.
fn script(bench: &Bench) -> Result<String, Failure> {
    let mut body = Vec::new();
    Generator::new(Shape::single(2, TENANTS))?.write(Form::Tenant, &mut body);
    let context = Context {
        tenant_id: TenantId(Uuid::nil()),
        now: Utc::now(),
    };
    let invoice = InvoiceInput::parse(&body)?.into_invoice(&context)?;
    let tenants: Vec<String> = bench
        .tenants
        .iter()
        .map(|tenant| tenant.id.to_string())
        .collect();
    let mut script = String::new();
    let out = &mut script;
    for n in 0..BATCH {
        writeln!(out, "\\set r{n} random(1, {})", tenants.len())?;
    }
    // UUIDs of version 7 in the order of time: the clock's milliseconds over a random UUID.
    writeln!(out, "select clock_timestamp() as at")?;
    for n in 0..BATCH {
        writeln!(
            out,
            ", (tenants)[:r{n}] as t{n}, overlay(gen_random_uuid()::text placing head from 1 for \
            15) as i{n}"
        )?;
    }
    writeln!(
        out,
        "from (select '{{{}}}'::uuid[] as tenants,",
        tenants.join(",")
    )?;
    writeln!(
        out,
        "  overlay(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')"
    )?;
    writeln!(
        out,
        "    placing '-' from 9 for 0) || '-7' as head) as made \\gset"
    )?;
    for n in 0..BATCH {
        transaction(out, n, &invoice)?;
    }
    Ok(script)
}

fn transaction(out: &mut String, n: u32, invoice: &Invoice) -> std::fmt::Result {
    let year = id::year_of(invoice.id);
    let Invoice {
        subtotal,
        discount_total,
        tax_total,
        total,
        amount_due,
        ..
    } = invoice;
    writeln!(out, "begin;")?;
    writeln!(
        out,
        "insert into invoices (tenant_id, id, year, kind, status, currency, issue_date, subtotal, \
        discount_total, \
         tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata, version, \
         created_at, \
         modified_at) values (:t{n}, :i{n}, {year}, 'invoice', 'issued', '{}', '{}', {subtotal}, \
         {discount_total}, \
         {tax_total}, {total}, 0, {amount_due}, 2, 0, '{}', 1, :at, :at);",
        invoice.currency.code(),
        Utc::now().date_naive(),
        quoted(invoice.metadata.as_str()),
    )?;
    for (number, line) in (1..).zip(&invoice.lines) {
        writeln!(
            out,
            "insert into invoice_lines (tenant_id, invoice_id, line_no, year, sku, description, \
            quantity, unit_price, \
             discount, tax_rate, net, tax) values (:t{n}, :i{n}, {number}, {year}, '{}', '{}', {}, \
             {}, {}, {}, {}, {});",
            line.sku.as_deref().unwrap_or_default(),
            quoted(&line.description),
            line.quantity,
            line.unit_price,
            line.discount,
            line.tax_rate,
            line.net,
            line.tax,
        )?;
    }
    writeln!(
        out,
        "insert into events (tenant_id, subject_id, id, year, event_type, actor, request_id, data, \
        created_at) values \
         (:t{n}, :i{n}, :i{n}, {year}, 'invoice.created', 'loadtest', '{}', '{}', :at);",
        Uuid::nil(),
        quoted(&invoice.created_event()),
    )?;
    writeln!(out, "end;")
}

/// For a literal in a pgbench script: there, a colon before a word names a variable, even inside of
/// quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "''").replace(':', ": ")
}
