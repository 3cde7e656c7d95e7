//! The usual upload: good lines land chunk by chunk while the rest is still being read.

use std::collections::VecDeque;

use sheaf_model::Invoice;
use sheaf_store::{IdemConflict, LineOutcome, NewInvoice, Store, StoreError};
use tokio::task::JoinHandle;

use super::lease::Lease;
use super::lines::{End, LineReader, Numbered};
use super::marks::{Differs, Marks};
use super::parse::{Parser, Ready};
use super::source::Source;
use super::summary::Summary;
use crate::config::BulkConfig;
use crate::error::ApiError;
use crate::state::Shared;

/// Invoices to be written together.
#[derive(Default)]
pub(super) struct Chunk {
    numbers: Vec<u64>,
    invoices: Vec<NewInvoice>,
    lines: usize,
    bytes: usize,
}

impl Chunk {
    pub(super) fn push(&mut self, ready: Ready) {
        let Invoice { lines, .. } = &ready.new.invoice;
        self.lines += lines.len();
        self.bytes += ready.bytes;
        self.numbers.push(ready.line);
        self.invoices.push(ready.new);
    }

    pub(super) fn is_full(&self, config: &BulkConfig) -> bool {
        self.invoices.len() >= config.chunk_invoices
            || self.lines >= config.chunk_lines
            || self.bytes >= config.chunk_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.invoices.is_empty()
    }

    /// Line numbers and invoices, in the same order.
    pub(super) fn into_parts(self) -> (Vec<u64>, Vec<NewInvoice>) {
        (self.numbers, self.invoices)
    }
}

type Written = (Vec<u64>, Result<Vec<LineOutcome>, StoreError>);

/// Writes chunks, a few at once. Each runs in a task of its own: a chunk that began ends, also when
/// the client goes.
struct Writer<'a> {
    store: Store,
    in_flight: VecDeque<JoinHandle<Written>>,
    limit: usize,
    summary: Summary,
    lease: Option<(&'a Lease, Marks)>,
}

impl Writer<'_> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), ApiError> {
        while self.in_flight.len() >= self.limit {
            self.collect().await?;
        }
        if let Some((lease, marks)) = &mut self.lease {
            lease.writes();
            if let Some(marks) = marks.take_fresh() {
                lease.keep(&marks).await?;
            }
        }
        let (numbers, invoices) = chunk.into_parts();
        let store = self.store.clone();
        self.in_flight.push_back(tokio::spawn(async move {
            (numbers, store.write_chunk(invoices).await)
        }));
        Ok(())
    }

    /// Notes lines before anything becomes of them, if they can be those of this upload.
    fn mark(&mut self, lines: &[Numbered]) -> Result<(), ApiError> {
        let Some((_, marks)) = &mut self.lease else {
            return Ok(());
        };
        match lines.iter().try_for_each(|line| marks.read(line)) {
            Ok(()) => Ok(()),
            Err(Differs(line)) => {
                self.summary.differs(line);
                Err(StoreError::from(IdemConflict::Mismatch).into())
            }
        }
    }

    /// Waits for the oldest chunk and counts it.
    async fn collect(&mut self) -> Result<(), ApiError> {
        let Some(oldest) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let (numbers, outcomes) = oldest.await?;
        let mut other_upload = false;
        for (line, outcome) in numbers.into_iter().zip(outcomes?) {
            other_upload |= matches!(outcome, LineOutcome::OtherLine(_));
            self.summary.count(line, outcome);
        }
        if other_upload {
            return Err(StoreError::from(IdemConflict::Mismatch).into());
        }
        Ok(())
    }

    /// Waits for all chunks, whatever becomes of each; the first failure is the answer.
    async fn finish(&mut self) -> Result<(), ApiError> {
        let mut result = Ok(());
        while !self.in_flight.is_empty() {
            let collected = self.collect().await;
            result = result.and(collected);
        }
        result
    }
}

/// Runs the upload to its end.
pub(super) async fn run(
    app: &Shared,
    mut parser: Parser,
    mut reader: LineReader,
    lease: Option<&Lease>,
) -> Result<(Summary, Source), ApiError> {
    let config = &app.bulk;
    let mut writer = Writer {
        store: app.store.clone(),
        in_flight: VecDeque::new(),
        limit: config.chunks_in_flight.max(1),
        summary: Summary::new(config.max_errors),
        lease: lease.map(|lease| (lease, lease.marks())),
    };
    let read = read_all(config, &mut parser, &mut reader, &mut writer).await;
    let written = writer.finish().await;
    match read.and(written) {
        Ok(()) => Ok((writer.summary, reader.into_source())),
        // Nothing was asked of the store yet: a plain problem says all.
        Err(cause) if writer.summary.received == 0 => Err(cause),
        Err(cause) => {
            writer.summary.record();
            Err(ApiError::BulkStopped {
                cause: Box::new(cause),
                members: writer.summary.members(),
            })
        }
    }
}

async fn read_all(
    config: &BulkConfig,
    parser: &mut Parser,
    reader: &mut LineReader,
    writer: &mut Writer<'_>,
) -> Result<(), ApiError> {
    let mut chunk = Chunk::default();
    loop {
        let batch = reader.next_batch().await;
        writer.summary.received += batch.lines.len() as u64;
        writer.mark(&batch.lines)?;
        let parsed = parser.parse(batch.lines).await?;
        for error in parsed.errors {
            writer.summary.reject(error);
        }
        for ready in parsed.ready {
            chunk.push(ready);
            if chunk.is_full(config) {
                writer.write(std::mem::take(&mut chunk)).await?;
            }
        }
        if batch.end == End::Full {
            continue;
        }
        if batch.end == End::Done
            && let Some((_, marks)) = &writer.lease
            && marks.are_missing()
        {
            return Err(StoreError::from(IdemConflict::Mismatch).into());
        }
        if !chunk.is_empty() {
            writer.write(chunk).await?;
        }
        return match batch.end {
            End::Failed(error) => Err(error.into()),
            End::Full | End::Done => Ok(()),
        };
    }
}
