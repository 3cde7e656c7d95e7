//! Rewriting of published files: some files of one year become one, either the next generation of
//! the first file of their month, or a file of the whole year. Copies that a recall has put out of
//! date are left out, and each row may be changed on the way. The new file is published as those of
//! tiering are (`tier/publish.rs`); the files that it replaces are superseded, and collected by gc
//! after its grace.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use chrono::NaiveDate;
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, ArchivedInvoice, Held, Publish, Replaced};
use tempfile::TempPath;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::totals::Totals;
use crate::file::writer::{EncodedPart, PartWriter};
use crate::object::purpose::ReadKind;
use crate::run::progress::Step;
use crate::run::{LockedRun, Run};
use crate::tier::publish::{Handover, Staged};
use crate::tier::read_back::{Expected, RowReader, fetch};

/// Files that one rewrite reads, at most: each is open while it runs.
pub(crate) const MAX_SOURCES: usize = 64;
/// Rows that are encoded at once.
const CHUNK: usize = 64;

/// Changes a row, and says whether it did. Neither id, period, currency, kind nor total may change;
/// events may be added.
pub(crate) type Transform = Arc<dyn Fn(&mut ArchivedInvoice) -> bool + Send + Sync>;

/// A change of documents, which retention may forbid.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) transform: Transform,
    /// The day that decides what retention holds. It is asked in the transaction of the handover: a
    /// hold that is set before that has committed counts.
    pub(crate) on: NaiveDate,
}

/// The outcome of a rewrite.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The files are superseded.
    Done(Rewritten),
    /// One of them was recalled from, or replaced, meanwhile. Nothing has changed.
    Changed,
    /// Retention holds their year. Nothing has changed.
    Held(Held),
}

/// The results of a rewrite.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// Rows of the new file.
    pub(crate) invoices: u64,
    /// Rows that the transform changed.
    pub(crate) touched: u64,
    /// Copies that were out of date and left out.
    pub(crate) dropped: u64,
    /// Size of the new file; 0 when nothing was left to write.
    pub(crate) bytes: u64,
}

/// The rows of all sources in one part.
struct Merged {
    part: Option<EncodedPart>,
    dropped: u64,
    touched: u64,
}

/// Rewrites `files` of one year as one file, which must have room for them.
pub(crate) async fn rewrite(
    run: &LockedRun<'_>,
    files: &[ArchiveFile],
    change: Option<Change>,
) -> Result<Outcome, ArchiveError> {
    let Some(first) = files.first() else {
        return Ok(Outcome::Done(Rewritten::default()));
    };
    if files.len() > MAX_SOURCES {
        return Err(ArchiveError::TooManyFiles { limit: MAX_SOURCES });
    }
    let is_month = files.iter().all(|file| file.period == first.period);
    let period = if is_month {
        first.period
    } else {
        first.period.year()
    };
    let of_period = files.iter().filter(|file| file.period == period);
    let part = of_period.map(|file| file.part).min();
    let mut replaced = Vec::with_capacity(files.len());
    for file in files {
        let masked = run.store.recalled_from(file).await?;
        let file = file.clone();
        replaced.push(Replaced { file, masked });
    }
    let unit = (first.tenant_id, period);
    let staged = Staged::begin(run, unit, part, ReadKind::Rewrite).await?;
    let unless_held = change.as_ref().map(|change| change.on);
    let merged = fetch_and_merge(run, &replaced, unit, change).await?;
    let part = merged.part.as_ref();
    let handover = Handover::Files {
        part,
        replaced: &replaced,
        unless_held,
    };
    match staged.publish(handover).await? {
        Publish::Done => {
            let done = Rewritten {
                invoices: part.map_or(0, |part| part.totals.invoices),
                touched: merged.touched,
                dropped: merged.dropped,
                bytes: part.map_or(0, |part| part.bytes),
            };
            run.progress.advance(done.invoices);
            Ok(Outcome::Done(done))
        }
        Publish::Changed => Ok(Outcome::Changed),
        Publish::Held(held) => Ok(Outcome::Held(held)),
    }
}

/// The rows of all files as one part, on the local disk.
async fn fetch_and_merge(
    run: &Run<'_>,
    replaced: &[Replaced],
    (tenant, period): (TenantId, Period),
    change: Option<Change>,
) -> Result<Merged, ArchiveError> {
    let copies = ReadKind::Rewrite.scope(fetch_all(run, replaced)).await?;
    run.checkpoint.reached(Step::Read).await;
    let keys = run.store.metadata_columns(tenant).await?.keys;
    let rows: i64 = replaced.iter().map(|source| source.file.invoices).sum();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let (sources, transform) = (replaced.to_vec(), change.map(|change| change.transform));
    tokio::task::spawn_blocking(move || {
        let writer = PartWriter::kept(tenant, period, keys, rows)?;
        merge(&sources, &copies, writer, transform.as_ref())
    })
    .await?
}

/// Local copies of the files, each with the size and hash of the catalog: what is damaged is not
/// rewritten.
async fn fetch_all(run: &Run<'_>, replaced: &[Replaced]) -> Result<Vec<TempPath>, ArchiveError> {
    let mut copies = Vec::with_capacity(replaced.len());
    for Replaced { file, .. } in replaced {
        copies.push(fetch(run.storage, &expected(file)?, None).await?);
    }
    Ok(copies)
}

fn expected(file: &ArchiveFile) -> Result<Expected, ArchiveError> {
    Expected::of(file)
        .ok_or_else(|| ArchiveError::corrupt(&file.object_key, "the catalog has no figures of it"))
}

/// One source with its next row.
struct Source<'a> {
    rows: RowReader,
    replaced: &'a Replaced,
    next: Option<ArchivedInvoice>,
    totals: Totals,
}

impl Source<'_> {
    /// The next row; every row is counted, whatever becomes of it.
    fn advance(&mut self) -> Result<Option<ArchivedInvoice>, ArchiveError> {
        let next = self.rows.next_row()?;
        if next.as_ref().is_some_and(|row| !self.totals.add(row)) {
            let detail = "the sum of totals is out of range";
            return Err(ArchiveError::corrupt(
                &self.replaced.file.object_key,
                detail,
            ));
        }
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn id(&self) -> Option<Uuid> {
        self.next.as_ref().map(|row| row.invoice.id)
    }
}

/// Merges the rows of all sources by id into one part. What went in is what the catalog says of the
/// files; what comes out is that less the copies that are out of date: nothing is lost, and no
/// figure changes.
fn merge(
    replaced: &[Replaced],
    copies: &[TempPath],
    mut writer: PartWriter,
    transform: Option<&Transform>,
) -> Result<Merged, ArchiveError> {
    let mut sources = Vec::with_capacity(replaced.len());
    for (replaced, copy) in replaced.iter().zip(copies) {
        let mut source = Source {
            rows: RowReader::open(copy, &expected(&replaced.file)?)?,
            replaced,
            next: None,
            totals: Totals::default(),
        };
        source.advance()?;
        sources.push(source);
    }
    let mut heap: BinaryHeap<Reverse<(Uuid, usize)>> = sources
        .iter()
        .enumerate()
        .filter_map(|(at, source)| source.id().map(|id| Reverse((id, at))))
        .collect();
    let (mut kept, mut dropped, mut touched) = (Totals::default(), 0, 0);
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(Reverse((id, at))) = heap.pop() {
        let source = &mut sources[at];
        let row = source.advance()?;
        if let Some(next) = source.id() {
            heap.push(Reverse((next, at)));
        }
        let Some(mut row) = row else { continue };
        if source.replaced.masked.binary_search(&id).is_ok() {
            dropped += 1;
            continue;
        }
        if !kept.add(&row) {
            return Err(ArchiveError::Encode(
                "the sum of totals is out of range".to_owned(),
            ));
        }
        let before = row.events.len();
        if transform.is_some_and(|change| change(&mut row)) {
            touched += 1;
            // A change may add an event of its own.
            kept.events += row.events.len().saturating_sub(before) as u64;
        }
        chunk.push(row);
        if chunk.len() >= CHUNK {
            writer.push(&chunk)?;
            chunk.clear();
        }
    }
    writer.push(&chunk)?;
    for source in &sources {
        if let Some(difference) = source.totals.differs_from(&source.replaced.file) {
            return Err(ArchiveError::corrupt(
                &source.replaced.file.object_key,
                difference,
            ));
        }
    }
    let part = (writer.rows() > 0).then(|| writer.finish()).transpose()?;
    let written = part
        .as_ref()
        .map_or(&Totals::default(), |part| &part.totals)
        .clone();
    if let Some(difference) = written.difference(&kept) {
        return Err(ArchiveError::Encode(format!("rewritten: {difference}")));
    }
    Ok(Merged {
        part,
        dropped,
        touched,
    })
}
