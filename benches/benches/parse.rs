//! What one NDJSON line costs before it reaches the store: reading, validating, rendering.
#![allow(clippy::unwrap_used, missing_docs)]

use chrono::{NaiveDate, TimeZone as _, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sheaf_loadtest::load::generate::{Form, Generator, Shape};
use sheaf_model::invoice::input::Context;
use sheaf_model::{Invoice, InvoiceInput, TenantId};
use uuid::Uuid;

const LINES: usize = 1_000;

fn lines(lines_mean: f64) -> Vec<Vec<u8>> {
    let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let shape = Shape {
        lines_mean,
        ..Shape::import(1, 10, day, 1)
    };
    let mut generator = Generator::new(shape).unwrap();
    let mut line = || {
        let mut line = Vec::new();
        generator.write(Form::Platform, &mut line);
        line
    };
    (0..LINES).map(|_| line()).collect()
}

fn parse(criterion: &mut Criterion) {
    let context = Context {
        tenant_id: TenantId(Uuid::nil()),
        now: Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap(),
    };
    for mean in [2.0, 20.0] {
        let lines = lines(mean);
        let inputs: Vec<InvoiceInput> = lines
            .iter()
            .map(|line| InvoiceInput::parse(line).unwrap())
            .collect();
        let invoices: Vec<Invoice> = inputs
            .iter()
            .map(|input| input.clone().into_invoice(&context).unwrap())
            .collect();
        let mut group = criterion.benchmark_group(format!("{LINES} invoices of {mean} lines"));
        group
            .throughput(Throughput::Elements(LINES as u64))
            .sample_size(20);
        group.bench_function("parse", |bencher| {
            bencher.iter(|| {
                lines
                    .iter()
                    .map(|line| InvoiceInput::parse(line))
                    .filter(Result::is_ok)
                    .count()
            });
        });
        group.bench_function("validate", |bencher| {
            bencher.iter_batched(
                || inputs.clone(),
                |inputs| {
                    inputs
                        .into_iter()
                        .map(|input| input.into_invoice(&context))
                        .collect::<Vec<_>>()
                },
                criterion::BatchSize::LargeInput,
            );
        });
        group.bench_function("render", |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                invoices
                    .iter()
                    .for_each(|invoice| invoice.render_into(&mut out));
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
