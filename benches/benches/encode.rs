//! What the rows of an invoice cost on their way to PostgreSQL: the model as binary rows of every
//! table.
#![allow(clippy::unwrap_used, missing_docs)]

use chrono::{NaiveDate, TimeZone as _, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sheaf_loadtest::load::generate::{Form, Generator, Shape};
use sheaf_model::invoice::input::Context;
use sheaf_model::{InvoiceInput, TenantId};
use sheaf_store::{IdFrom, NewInvoice, Origin};
use uuid::Uuid;

const INVOICES: usize = 1_000;

fn invoices(lines_mean: f64) -> Vec<NewInvoice> {
    let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let shape = Shape {
        lines_mean,
        ..Shape::import(1, 10, day, 1)
    };
    let mut generator = Generator::new(shape).unwrap();
    let context = Context {
        tenant_id: TenantId(Uuid::nil()),
        now: Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap(),
    };
    let mut invoice = || {
        let mut line = Vec::new();
        generator.write(Form::Tenant, &mut line);
        let input = InvoiceInput::parse(&line).unwrap();
        NewInvoice {
            invoice: input.into_invoice(&context).unwrap(),
            id_from: IdFrom::Server,
            origin: Origin::new("bench", "bench"),
            at: context.now,
            idem: None,
        }
    };
    (0..INVOICES).map(|_| invoice()).collect()
}

fn encode(criterion: &mut Criterion) {
    for mean in [2.0, 20.0] {
        let invoices = invoices(mean);
        let mut group = criterion.benchmark_group(format!("{INVOICES} invoices of {mean} lines"));
        group
            .throughput(Throughput::Elements(INVOICES as u64))
            .sample_size(20);
        group.bench_function("encode", |bencher| {
            bencher.iter(|| sheaf_store::bench::encode(&invoices));
        });
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
