//! Documents of the simulated years, and their uploads.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::timeline::{Entry, Timeline};
use super::{Due, Settings, SimulateError};
use crate::load::generate::{Dated, Generator, Shape, ShapeError, Skew};
use crate::load::http::{AnyBody, Connection, whole};
use crate::load::setup::Tenant;

/// Invoices of one upload: some 8 MB, made before it is sent, so that their making takes no part of
/// its time.
const UPLOAD: usize = 10_000;

/// Makes documents; any of them again.
pub(super) struct Writer<'a> {
    pub(super) timeline: &'a Timeline,
    pub(super) tenants: &'a [Tenant],
    generator: Generator,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(timeline: &'a Timeline, tenants: &'a [Tenant]) -> Result<Self, ShapeError> {
        let outline = timeline.outline();
        let generator = Generator::new(Shape {
            seed: outline.seed,
            tenants: outline.tenants,
            // Tenants and dates are the timeline's.
            skew: Skew::Uniform,
            lines_mean: 2.0,
            lines_sigma: 0.8,
            customers: 200,
            history: None,
        })?;
        Ok(Self {
            timeline,
            tenants,
            generator,
            scratch: Vec::new(),
        })
    }

    pub(super) fn tenant(&self, entry: &Entry) -> &'a Tenant {
        &self.tenants[entry.tenant as usize]
    }

    fn write(&mut self, entry: &Entry, out: &mut Vec<u8>) -> u64 {
        let dated = Dated {
            number: entry.number,
            tenant: entry.tenant,
            tenant_id: self.tenant(entry).id,
            id: entry.id,
            issued: entry.issued,
            paid_on: entry.paid_at_once.then_some(entry.paid_on),
            credit_note: entry.credit_note,
        };
        self.generator.write_dated(&dated, out)
    }

    /// The invoice's total in minor units.
    pub(super) fn total(&mut self, entry: &Entry) -> u64 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let total = self.write(entry, &mut scratch);
        self.scratch = scratch;
        total
    }
}

/// Uploads the month's invoices, and notes what they leave to later months. Answers how long the
/// server took.
pub(super) async fn upload(
    settings: &Settings,
    writer: &mut Writer<'_>,
    month: u32,
    due: &mut [Due],
) -> Result<Duration, SimulateError> {
    let timeline = writer.timeline;
    let mut connection: Connection<AnyBody> = Connection::open(&settings.server).await?;
    let mut took = Duration::ZERO;
    let mut numbers = timeline.before(month)..timeline.before(month + 1);
    while !numbers.is_empty() {
        let mut lines = Vec::new();
        let mut count = 0;
        for number in numbers.by_ref().take(UPLOAD) {
            let entry = timeline.entry(number);
            writer.write(&entry, &mut lines);
            lines.push(b'\n');
            count += 1;
            if !entry.paid_at_once
                && let Some(due) = due.get_mut(entry.paid_month as usize)
            {
                due.payments.push(number);
            }
            if let Some(due) = due.get_mut(timeline.archived_after(&entry) as usize) {
                due.tiering += 1;
            }
        }
        let begun = Instant::now();
        send(settings, &mut connection, lines, count).await?;
        took += begun.elapsed();
    }
    Ok(took)
}

async fn send(
    settings: &Settings,
    connection: &mut Connection<AnyBody>,
    lines: Vec<u8>,
    count: u64,
) -> Result<(), SimulateError> {
    let path = "/v1/platform/invoices/bulk";
    let (key, media) = (&settings.admin_key, "application/x-ndjson");
    let (status, answer) = connection
        .json(Method::POST, path, key, media, whole(lines))
        .await?;
    let created = answer.get("created").and_then(Value::as_u64);
    // One that is missing here would be missed at the end, years later.
    if status == StatusCode::OK && created == Some(count) {
        return Ok(());
    }
    let mut answer = answer.to_string();
    answer.truncate(answer.floor_char_boundary(1_000));
    let what = format!("POST {path} with {count} invoices answered {status}");
    Err(SimulateError::Refused(what, answer))
}
