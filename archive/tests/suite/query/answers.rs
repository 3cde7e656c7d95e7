//! Questions whose answers are computed here from the invoices themselves, with decimals.

use std::collections::BTreeMap;

use chrono::{Datelike, Utc};
use serde_json::Value;
use sheaf_archive::{Archive, QueryOptions};
use sheaf_model::invoice::lifecycle::Patch;
use sheaf_model::{Decimal, Invoice, Status};
use sheaf_store::{Command, NewChange, Origin};
use uuid::Uuid;

use crate::support::cluster::{World, invoice, world};
use crate::support::query::{all_tiers, ask, decimal, rows, stat};

/// Paid documents of three years, `each` a month in four months, with prices of their own.
pub(crate) fn documents(world: &World, each: usize) -> Vec<Invoice> {
    let mut out = Vec::new();
    for year in 2022..=2024 {
        for month in [1, 5, 9, 12] {
            for n in 0..each {
                let number = (usize::try_from(year).unwrap() * 100 + month) * 1000 + n;
                let date = format!("{year}-{month:02}-{:02}", 1 + n % 28);
                let mut invoice = world.invoice(&date, number, Status::Paid);
                let net = Decimal::new(i64::try_from(101 + n * 37).unwrap(), 2);
                let tax = (net * Decimal::new(2, 1)).round_dp(2);
                for line in &mut invoice.lines {
                    (line.unit_price, line.net, line.tax) = (net, net, tax);
                }
                let count = Decimal::from(invoice.lines.len());
                (invoice.subtotal, invoice.tax_total) = (net * count, tax * count);
                invoice.total = invoice.subtotal + invoice.tax_total;
                invoice.amount_paid = invoice.total;
                invoice.payments[0].amount = invoice.total;
                out.push(invoice);
            }
        }
    }
    out
}

/// A world with all of it archived.
pub(crate) async fn archived(name: &str, each: usize) -> (World, Vec<Invoice>) {
    let world = world(name).await;
    let documents = documents(&world, each);
    world.create(documents.clone()).await;
    assert_eq!(world.tier().await.invoices, documents.len() as u64);
    (world, documents)
}

async fn answer(world: &World, sql: &str) -> Value {
    ask(&world.archive, world.tenant, sql, QueryOptions::default())
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// Groups as `(key, rows, sum)`, to be compared with what the engine says.
type Groups = BTreeMap<String, (usize, Decimal)>;

fn groups(answer: &Value) -> Groups {
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let key = match &row[0] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let count = usize::try_from(row[1].as_u64().unwrap()).unwrap();
        (key, (count, decimal(&row[2])))
    })
    .collect()
}

fn grouped<T>(
    of: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    value: impl Fn(&T) -> Decimal,
) -> Groups {
    let mut out = Groups::new();
    for item in of {
        let group = out.entry(key(&item)).or_default();
        group.0 += 1;
        group.1 += value(&item);
    }
    out
}

fn year_of(invoice: &Invoice) -> i32 {
    invoice.issue_date.unwrap().year()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_right_to_the_penny() {
    let (world, documents) = archived("sums", 60).await;
    let by_currency = "select currency, count(*), sum(total) from invoices group by currency";
    let expected = grouped(&documents, |i| i.currency.code().to_owned(), |i| i.total);
    assert_eq!(groups(&answer(&world, by_currency).await), expected);

    let of_2023 =
        "select kind, count(*), sum(tax_total) from invoices where year = 2023 group by 1";
    let expected = grouped(
        documents.iter().filter(|i| year_of(i) == 2023),
        |i| i.kind.as_str().to_owned(),
        |i| i.tax_total,
    );
    assert_eq!(groups(&answer(&world, of_2023).await), expected);

    let lines = "select coalesce(sku, 'none'), count(*), sum(net + tax) from lines
                 where kind = 'invoice' and currency = 'GBP' group by 1";
    let of_gbp = documents
        .iter()
        .filter(|i| i.currency.code() == "GBP" && i.kind == sheaf_model::Kind::Invoice);
    let expected = grouped(
        of_gbp.flat_map(|i| &i.lines),
        |l| l.sku.clone().unwrap_or("none".into()),
        |l| l.net + l.tax,
    );
    assert_eq!(groups(&answer(&world, lines).await), expected);

    let paid = "select extract(year from paid_on)::int, count(*), sum(amount) from payments
                where method = 'card' and kind = 'payment' group by 1";
    let expected = grouped(&documents, |i| year_of(i).to_string(), |i| i.amount_paid);
    assert_eq!(groups(&answer(&world, paid).await), expected);

    let events = "select event_type, count(*), 0.00 from events where actor = 'test' group by 1";
    let counted = groups(&answer(&world, events).await);
    assert_eq!(counted["invoice.created"].0, documents.len());

    let joined = "select count(*), count(distinct i.id), sum(l.net) from lines l
                  join invoices i on i.id = l.invoice_id and i.year = l.year
                  where i.issue_date between '2022-05-01' and '2022-05-31'";
    let may: Vec<_> = documents
        .iter()
        .filter(|i| i.issue_date.unwrap().to_string().starts_with("2022-05"))
        .collect();
    let joined = answer(&world, joined).await;
    let lines: usize = may.iter().map(|i| i.lines.len()).sum();
    assert_eq!(joined["rows"][0][0], lines);
    assert_eq!(joined["rows"][0][1], may.len());
    let subtotal: Decimal = may.iter().map(|i| i.subtotal).sum();
    assert_eq!(decimal(&joined["rows"][0][2]), subtotal);
}

/// More rows than the engine computes at a time, over more than one thread.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_batches_is_in_its_order() {
    let world = world("order").await;
    let day = |n: u32| chrono::NaiveDate::from_ymd_opt(2023, 1 + n % 12, 1 + n % 28).unwrap();
    let documents = (0..60).map(|n| invoice(world.tenant, day(n), n as usize, Status::Paid, 400));
    let documents: Vec<Invoice> = documents.collect();
    world.create(documents.clone()).await;
    world.tier().await;
    let mut ids: Vec<String> = documents.iter().map(|i| i.id.to_string()).collect();
    ids.sort_unstable();
    let keys = |id: &String| (1..=400).map(|n| (id.clone(), n)).collect::<Vec<_>>();
    let up: Vec<(String, u64)> = ids.iter().flat_map(keys).collect();
    let down: Vec<(String, u64)> = up.iter().rev().cloned().collect();
    for (sql, expected) in [
        (
            "select invoice_id, line_no, quantity * unit_price from lines order by 1, 2",
            &up,
        ),
        (
            "select invoice_id, line_no from lines order by invoice_id desc, line_no desc",
            &down,
        ),
        // Nothing of what it is ordered by is as it is in the table.
        (
            "select id, n + 0 from (select invoice_id as id, line_no as n, net from lines) l order \
            by id, n, net",
            &up,
        ),
    ] {
        for _ in 0..10 {
            let answer = answer(&world, sql).await;
            let told = answer["rows"].as_array().unwrap().iter();
            let told = told.map(|r| (r[0].as_str().unwrap().to_owned(), r[1].as_u64().unwrap()));
            assert!(told.eq(expected.iter().cloned()), "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_documents_column_by_column() {
    let (world, documents) = archived("rows", 5).await;
    let invoices = "select id, external_id, number, kind, status, currency, customer_name, \
        customer_country,
                    issue_date, due_date, subtotal, discount_total, tax_total, total, amount_paid, \
                    amount_due, metadata,
                    version, discount, discount_percent, amount_credited, credits, tenant_id, \
                    year, month
                    from invoices order by id";
    let mut expected: Vec<&Invoice> = documents.iter().collect();
    expected.sort_by_key(|i| i.id);
    let found = answer(&world, invoices).await;
    assert_eq!(found["rows"].as_array().unwrap().len(), documents.len());
    for (row, invoice) in rows(&found).iter().zip(&expected) {
        let text = |text: Option<&str>| text.unwrap_or("null").to_owned();
        let date = invoice.issue_date.unwrap();
        let customer = invoice.customer.as_ref();
        let four = |amount: Decimal| format!("{amount:.4}");
        let want = [
            invoice.id.to_string(),
            text(invoice.external_id.as_deref()),
            text(invoice.number.as_deref()),
            invoice.kind.as_str().to_owned(),
            "paid".to_owned(),
            invoice.currency.code().to_owned(),
            text(customer.map(|c| c.name.as_str())),
            text(customer.and_then(|c| c.country.as_deref())),
            date.to_string(),
            date.to_string(),
            four(invoice.subtotal),
            four(invoice.discount_total),
            four(invoice.tax_total),
            four(invoice.total),
            four(invoice.amount_paid),
            four(invoice.amount_due),
            invoice.metadata.as_str().to_owned(),
            "1".to_owned(),
            "0.0000".to_owned(),
            "null".to_owned(),
            "0.0000".to_owned(),
            "null".to_owned(),
            world.tenant.to_string(),
            date.year().to_string(),
            date.month().to_string(),
        ];
        assert_eq!(row, &want);
    }
    let lines = "select invoice_id, line_no, sku, description, quantity, unit_price, tax_rate, \
        net, tax, currency, kind,
                 discount_percent, document_discount from lines order by invoice_id, line_no";
    let found = rows(&answer(&world, lines).await);
    let mut at = 0;
    for invoice in &expected {
        for (number, line) in (1..).zip(&invoice.lines) {
            let want = [
                invoice.id.to_string(),
                i32::to_string(&number),
                line.sku.clone().unwrap_or("null".into()),
                line.description.clone(),
                format!("{:.6}", line.quantity),
                format!("{:.6}", line.unit_price),
                format!("{:.6}", line.tax_rate),
                format!("{:.4}", line.net),
                format!("{:.4}", line.tax),
                invoice.currency.code().to_owned(),
                invoice.kind.as_str().to_owned(),
                "null".to_owned(),
                "0.0000".to_owned(),
            ];
            assert_eq!(found[at], want);
            at += 1;
        }
    }
    assert_eq!(at, found.len());
    let payments = "select invoice_id, payment_id, reference, amount, paid_on, method, kind, \
        reverses, invoice_status
                    from payments order by invoice_id";
    for (row, invoice) in rows(&answer(&world, payments).await).iter().zip(&expected) {
        let payment = &invoice.payments[0];
        let want = [
            invoice.id.to_string(),
            payment.id.to_string(),
            "bank 1".to_owned(),
            format!("{:.4}", payment.amount),
            payment.paid_on.to_string(),
            "card".to_owned(),
            "payment".to_owned(),
            "null".to_owned(),
            "paid".to_owned(),
        ];
        assert_eq!(row, &want);
    }
    let events = "select e.invoice_id, e.event_type, e.actor, e.request_id, e.occurred_at > \
        '2020-01-01', e.data,
                  e.invoice_kind from events e order by 1";
    let found = rows(&answer(&world, events).await);
    assert_eq!(found.len(), expected.len());
    for (row, invoice) in found.iter().zip(&expected) {
        assert_eq!(row[0], invoice.id.to_string());
        assert_eq!(row[1..5], ["invoice.created", "test", "req-1", "true"]);
        assert!(serde_json::from_str::<Value>(&row[5]).unwrap().is_object());
        assert_eq!(row[6], invoice.kind.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_needs_no_column_and_limits_none_too_many() {
    let (world, documents) = archived("count", 30).await;
    let lines: usize = documents.iter().map(|i| i.lines.len()).sum();
    for (table, count) in [
        ("invoices", documents.len()),
        ("lines", lines),
        ("payments", documents.len()),
        ("events", documents.len()),
    ] {
        let counted = answer(&world, &format!("select count(*) from {table}")).await;
        assert_eq!(counted["rows"][0][0], count, "{table}");
        let some = answer(&world, &format!("select year from {table} limit 7")).await;
        assert_eq!(some["rows"].as_array().unwrap().len(), 7);
        // A part of the rows by a column of the path, of the invoice, and of the element.
        let year = format!("select count(*) from {table} where year = 2022 and month = 5");
        let year = answer(&world, &year).await["rows"][0][0].as_u64().unwrap();
        assert_eq!(year * 12, count as u64, "{table}");
    }
    let one = "select count(*) from lines where line_no = 2 and invoice_id >= '0'";
    let second = documents.iter().filter(|i| i.lines.len() > 1).count();
    assert_eq!(answer(&world, one).await["rows"][0][0], second);
}

async fn change(world: &World, id: Uuid, version: i64) {
    let patch = format!(r#"{{"metadata": {{"changed": {version}}}}}"#);
    let change = NewChange {
        tenant_id: world.tenant,
        invoice_id: id,
        command: Command::Edit(Patch::parse(patch.as_bytes()).unwrap()),
        expected: None,
        origin: Origin::new("test", "req-2"),
        idem: None,
        now: Utc::now(),
    };
    world.store.change_invoice(change).await.unwrap();
}

async fn versions(archive: &Archive, world: &World, options: QueryOptions) -> Vec<Vec<String>> {
    let sql = "select id, version from invoices order by id";
    rows(&ask(archive, world.tenant, sql, options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recalled_copy_is_not_seen_in_any_table() {
    let (world, documents) = archived("recalled", 20).await;
    let mut ids: Vec<Uuid> = documents.iter().map(|i| i.id).collect();
    ids.sort_unstable();
    let (gone, rest): (Vec<Uuid>, Vec<Uuid>) = (vec![ids[0], ids[33], ids[239]], {
        let keep = |at: &usize| ![0, 33, 239].contains(at);
        (0..ids.len()).filter(keep).map(|at| ids[at]).collect()
    });
    for id in &gone {
        change(&world, *id, 2).await;
    }
    for (table, column) in [
        ("invoices", "id"),
        ("lines", "invoice_id"),
        ("payments", "invoice_id"),
        ("events", "invoice_id"),
    ] {
        let sql = format!("select distinct {column} from {table} order by 1");
        let found = rows(&answer(&world, &sql).await);
        let want: Vec<Vec<String>> = rest.iter().map(|id| vec![id.to_string()]).collect();
        assert_eq!(found, want, "{table}");
        let sql = format!(
            "select count(*) from {table} where {column} = '{}'",
            gone[1]
        );
        assert_eq!(answer(&world, &sql).await["rows"][0][0], 0, "{table}");
        let sql = format!("select count(distinct {column}), count(*) > 1 from {table}");
        assert_eq!(answer(&world, &sql).await["rows"][0][0], rest.len());
    }
    let count = answer(&world, "select count(*) from invoices").await;
    assert_eq!(count["rows"][0][0], rest.len());
    let limited = answer(&world, "select id from invoices limit 1000").await;
    assert_eq!(limited["rows"].as_array().unwrap().len(), rest.len());

    // Both tiers have each of them once, the changed ones as they are now.
    let both = versions(&world.archive, &world, all_tiers()).await;
    let want = |id: &Uuid| {
        vec![
            id.to_string(),
            (1 + i32::from(gone.contains(id))).to_string(),
        ]
    };
    assert_eq!(both, ids.iter().map(want).collect::<Vec<_>>());
    // Archived again, the new copy is seen, and the old one is not.
    assert_eq!(world.tier().await.invoices, 3);
    let cold = versions(&world.archive, &world, QueryOptions::default()).await;
    assert_eq!(cold, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_metadata_are_texts_and_can_be_grouped_by() {
    let (world, documents) = archived("metadata", 10).await;
    let sql = "select json_text(metadata, 'bucket') as bucket, count(*), \
        min(cast(json_text(metadata, 'no') as int)),
               count(json_text(metadata, 'nothing'))
               from invoices group by 1 order by 1";
    let found = rows(&answer(&world, sql).await);
    assert_eq!(found.len(), 2);
    let count: usize = found
        .iter()
        .map(|row| row[1].parse::<usize>().unwrap())
        .sum();
    assert_eq!(count, documents.len());
    assert_eq!((&*found[0][0], &*found[1][0]), ("0", "1"));
    assert!(found.iter().all(|row| row[3] == "0"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tiers_are_one_and_nothing_is_counted_twice_during_a_move() {
    let world = world("both").await;
    let documents = documents(&world, 40);
    let recent: Vec<Invoice> = (0..25)
        .map(|n| world.invoice("2026-10-03", n, Status::Issued))
        .collect();
    let total: Decimal = documents.iter().chain(&recent).map(|i| i.total).sum();
    let count = documents.len() + recent.len();
    world.create(documents.clone()).await;
    world.create(recent.clone()).await;
    let sql = "select count(*), count(distinct id), sum(total) from invoices";
    let check = async || {
        let before = Utc::now();
        let both = ask(&world.archive, world.tenant, sql, all_tiers())
            .await
            .unwrap();
        assert_eq!(
            (&both["rows"][0][0], &both["rows"][0][1]),
            (&count.into(), &count.into())
        );
        assert_eq!(decimal(&both["rows"][0][2]), total);
        let as_of: chrono::DateTime<Utc> = both["as_of"].as_str().unwrap().parse().unwrap();
        assert!(as_of >= before - chrono::TimeDelta::milliseconds(1) && as_of <= Utc::now());
        assert_eq!(both["tier"], "all");
        stat(&both, "hot_invoices")
    };
    assert_eq!(check().await, count as u64);
    // At least one of them begins with the move, however slow queries are on this machine.
    let has_moved = std::cell::Cell::new(false);
    let moving = async {
        let run = world.tier().await;
        has_moved.set(true);
        run
    };
    let checking = async {
        check().await;
        while !has_moved.get() {
            check().await;
        }
    };
    let (run, ()) = tokio::join!(moving, checking);
    assert_eq!(run.invoices, documents.len() as u64);
    assert_eq!(check().await, recent.len() as u64);
    // What the filter rules out of the hot tier is not read.
    let old = "select count(*) from lines where year = 2023";
    let old = ask(&world.archive, world.tenant, old, all_tiers())
        .await
        .unwrap();
    assert_eq!(stat(&old, "hot_invoices"), 0);
    let lines = documents.iter().filter(|i| year_of(i) == 2023);
    let lines: usize = lines.map(|i| i.lines.len()).sum();
    assert_eq!(old["rows"][0][0], lines);
    let events = "select count(*) from events where year = 2026 and event_type = 'invoice.created'";
    let events = ask(&world.archive, world.tenant, events, all_tiers())
        .await
        .unwrap();
    assert_eq!(events["rows"][0][0], recent.len());
}
