//! One part of a unit: settled invoices of one snapshot into one file. Its publication is
//! `publish.rs`.

use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchivedInvoice, Publish, SPANS};
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::totals::Totals;
use crate::file::writer::{EncodedPart, PartWriter, bounds};
use crate::object::purpose::ReadKind;
use crate::run::progress::Step;
use crate::run::{LockedRun, Run};
use crate::tier::publish::{Handover, Staged};

/// Invoices of a page of the snapshot: at first, and at most.
const PAGE: (usize, usize) = (64, 1_000);
/// Lines that a page should have, which holds memory down where invoices are long.
const PAGE_LINES: usize = 20_000;

/// How many invoices the page after `page` should have.
fn next_page_size(page: &[ArchivedInvoice]) -> usize {
    let lines: usize = page.iter().map(|row| row.invoice.lines.len()).sum();
    let per_invoice = lines / page.len().max(1) + 1;
    (PAGE_LINES / per_invoice).clamp(1, PAGE.1)
}

/// The ids of one period of one tenant, from one on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdRange {
    pub(crate) tenant: TenantId,
    pub(crate) period: Period,
    /// First id, inclusive.
    pub(crate) from: Uuid,
}

impl IdRange {
    /// The id before the first.
    fn after(self) -> Option<Uuid> {
        self.from.as_u128().checked_sub(1).map(Uuid::from_u128)
    }
}

/// The outcome of moving a part.
#[derive(Debug)]
pub(crate) enum PartOutcome {
    /// Its invoices are cold now.
    Moved {
        totals: Totals,
        bytes: u64,
        last: Uuid,
    },
    /// Something changed while it was written; its invoices are hot, the object is garbage.
    Changed { last: Uuid, invoices: u64 },
    /// Nothing in the range is settled (any more).
    Nothing,
}

/// Moves the first part of a range.
pub(crate) async fn move_part(
    run: &LockedRun<'_>,
    range: IdRange,
) -> Result<PartOutcome, ArchiveError> {
    let IdRange { tenant, period, .. } = range;
    let span = tracing::info_span!(
        target: SPANS, "tiering part", sheaf.tenant_id = %tenant, %period, outcome = Empty,
        invoices = Empty, bytes = Empty, otel.status_code = Empty
    );
    let moved = Box::pin(write_and_publish(run, range))
        .instrument(span.clone())
        .await;
    match &moved {
        Ok(PartOutcome::Moved { totals, bytes, .. }) => {
            span.record("outcome", "moved");
            span.record("invoices", totals.invoices);
            span.record("bytes", bytes);
        }
        Ok(PartOutcome::Changed { invoices, .. }) => {
            span.record("outcome", "changed");
            span.record("invoices", invoices);
        }
        Ok(PartOutcome::Nothing) => {
            span.record("outcome", "nothing");
        }
        Err(_) => {
            span.record("otel.status_code", "error");
        }
    }
    moved
}

async fn write_and_publish(
    run: &LockedRun<'_>,
    range: IdRange,
) -> Result<PartOutcome, ArchiveError> {
    let unit = (range.tenant, range.period);
    let staged = Staged::begin(run, unit, None, ReadKind::Tiering).await?;
    // Step 2: one snapshot, ordered by id, into Parquet.
    let part = encode(run, range).await?;
    let last = part.as_ref().and_then(|part| part.ids.last());
    let (Some(part), Some((last, _))) = (&part, last.copied()) else {
        staged.discard().await?;
        return Ok(PartOutcome::Nothing);
    };
    match staged.publish(Handover::Hot(part)).await? {
        Publish::Done => Ok(PartOutcome::Moved {
            totals: part.totals.clone(),
            bytes: part.bytes,
            last,
        }),
        // A move changes no document: nothing holds it.
        Publish::Changed | Publish::Held(_) => Ok(PartOutcome::Changed {
            last,
            invoices: part.totals.invoices,
        }),
    }
}

async fn encode(run: &Run<'_>, range: IdRange) -> Result<Option<EncodedPart>, ArchiveError> {
    let IdRange { tenant, period, .. } = range;
    let keys = run.store.metadata_columns(tenant).await?.keys;
    let begin = move || PartWriter::new(tenant, period, keys);
    let mut writer = tokio::task::spawn_blocking(begin).await??;
    let progress = run.progress;
    let mut snapshot = run
        .store
        .snapshot_reader(tenant, period, range.after())
        .await?;
    let mut size = PAGE.0;
    while !writer.is_full() {
        let room = bounds::INVOICES.saturating_sub(writer.rows()).min(size);
        let page = snapshot.next_page(room).await?;
        if page.is_empty() {
            break;
        }
        progress.advance(page.len() as u64);
        size = next_page_size(&page);
        writer = tokio::task::spawn_blocking(move || push(writer, &page)).await??;
    }
    snapshot.finish().await?;
    run.checkpoint.reached(Step::Read).await;
    if writer.rows() == 0 {
        return Ok(None);
    }
    tokio::task::spawn_blocking(move || writer.finish())
        .await?
        .map(Some)
}

/// The totals of what a run would move of a range, in one part or several.
pub(crate) async fn count(run: &Run<'_>, range: IdRange) -> Result<Totals, ArchiveError> {
    let mut totals = Totals::default();
    let mut snapshot = run
        .store
        .snapshot_reader(range.tenant, range.period, range.after())
        .await?;
    let mut size = PAGE.0;
    loop {
        let page = snapshot.next_page(size).await?;
        if page.is_empty() {
            break;
        }
        size = next_page_size(&page);
        run.progress.advance(page.len() as u64);
        if !page.iter().all(|row| totals.add(row)) {
            return Err(ArchiveError::Encode(
                "the sum of totals is out of range".to_owned(),
            ));
        }
    }
    snapshot.finish().await?;
    Ok(totals)
}

fn push(mut writer: PartWriter, page: &[ArchivedInvoice]) -> Result<PartWriter, ArchiveError> {
    writer.push(page)?;
    Ok(writer)
}
