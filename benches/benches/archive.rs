//! What an invoice costs on its way into the cold tier and back: Parquet encoding, and decoding of
//! a whole part.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;

use chrono::{NaiveDate, TimeZone as _, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sheaf_archive::file::rows::Rows;
use sheaf_archive::file::writer::{EncodedPart, PartWriter};
use sheaf_loadtest::load::generate::{Form, Generator, History, Shape};
use sheaf_model::invoice::input::Context;
use sheaf_model::{InvoiceInput, Period, TenantId, id};
use sheaf_store::{ArchivedInvoice, EventRow};
use uuid::Uuid;

/// One row group.
const INVOICES: usize = 8_192;
const TENANT: TenantId = TenantId(Uuid::nil());
const MARCH: Period = Period {
    year: 2024,
    month: 3,
};

fn invoices() -> Vec<ArchivedInvoice> {
    let last_day = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap();
    let shape = Shape {
        history: Some(History { last_day, days: 30 }),
        ..Shape::import(1, 1, last_day, 1)
    };
    let mut generator = Generator::new(shape).unwrap();
    let context = Context {
        tenant_id: TENANT,
        now: Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap(),
    };
    let mut archived = || {
        let mut line = Vec::new();
        generator.write(Form::Tenant, &mut line);
        let input = InvoiceInput::parse(&line).unwrap();
        let invoice = input.into_invoice(&context).unwrap();
        let created = EventRow {
            id: id::new_id(context.now),
            event_type: "invoice.created".to_owned(),
            actor: "bench".to_owned(),
            request_id: None,
            data: invoice.created_event(),
            created_at: context.now,
            correlation_id: None,
            causation_id: None,
        };
        ArchivedInvoice {
            invoice,
            events: vec![created],
        }
    };
    let mut rows: Vec<ArchivedInvoice> = (0..INVOICES).map(|_| archived()).collect();
    rows.sort_unstable_by_key(|row| row.invoice.id);
    rows
}

fn encode(rows: &[ArchivedInvoice]) -> EncodedPart {
    let mut writer = PartWriter::new(TENANT, MARCH, [].into()).unwrap();
    writer.push(rows).unwrap();
    writer.finish().unwrap()
}

fn decode(part: &EncodedPart) -> usize {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&part.path).unwrap());
    let mut lines = 0;
    for batch in reader.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let rows = Rows::new(&batch, TENANT).unwrap();
        for row in 0..rows.len() {
            lines += rows.archived(row).unwrap().invoice.lines.len();
        }
    }
    lines
}

fn archive(criterion: &mut Criterion) {
    let rows = invoices();
    let part = encode(&rows);
    let mut group = criterion.benchmark_group(format!("{INVOICES} invoices"));
    group
        .throughput(Throughput::Elements(INVOICES as u64))
        .sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| encode(&rows).bytes));
    group.bench_function("decode", |bencher| bencher.iter(|| decode(&part)));
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
