//! Exports: the invoices of some years of a tenant, in the order of their ids, each once, from both
//! tiers.
//!
//! An export runs in a task that writes ahead of its reader by a few chunks. Each chunk is whole
//! lines. An export that fails ends with the error, and one whose reader is gone or asleep ends by
//! itself; the next one goes on after the last id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use sheaf_model::{Invoice, TenantId};
use sheaf_store::{Full, Share, Shares, Store};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::ArchiveError;
use crate::object::cache::Objects;
use crate::object::purpose::ReadKind;

mod cold;
mod manifest;
mod merge;
mod table;

pub(crate) use manifest::manifest;
pub use manifest::{DEFAULT_URL_AGE, Manifest, ManifestFile, Masked};
use merge::Merge;
pub use table::COLUMNS;
use table::Table;

/// Bytes at which a chunk is sent.
const CHUNK: usize = 256 * 1024;
/// Chunks that are made ahead of the reader.
const AHEAD: usize = 2;

/// Bounds of exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimits {
    /// Exports of one tenant at a time.
    pub per_tenant: usize,
    /// Exports at a time.
    pub total: usize,
    /// Time after which a reader that takes nothing has gone.
    pub idle: Duration,
}

impl Default for ExportLimits {
    fn default() -> Self {
        Self {
            per_tenant: 2,
            total: 8,
            idle: Duration::from_secs(60),
        }
    }
}

/// Which tiers an export reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportTiers {
    /// Both.
    #[default]
    All,
    /// The hot tier alone.
    Hot,
    /// The archive alone.
    Cold,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// One invoice a line, as the API renders it, which is what bulk ingestion takes back.
    #[default]
    Ndjson,
    /// RFC 4180: a line of [`COLUMNS`] (but not behind [`ExportOptions::after`]), then a record an
    /// invoice, without its lines and payments.
    Csv,
}

impl ExportFormat {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// As parameters and files name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// The first year, by the invoices' ids.
    pub from: i16,
    /// The last year.
    pub to: i16,
    /// What is read.
    pub tiers: ExportTiers,
    /// How it is written.
    pub format: ExportFormat,
    /// Only what comes behind this id, which need not exist.
    pub after: Option<Uuid>,
    /// Invoices at most.
    pub limit: Option<u64>,
}

/// Why there is no export, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tenant runs as many exports as it may.
    #[error("the tenant runs {limit} exports already")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// All tenants together run as many exports as may be.
    #[error("too many exports are running")]
    Busy,
    /// There are more files, or more copies out of date, than one manifest may have.
    #[error(
        "the years have more than {limit} {what}: ask for fewer years, or have the archive \
        compacted"
    )]
    TooLarge {
        /// Of what there are too many.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The reader took nothing for a while.
    #[error("nobody has read the export for {seconds} seconds")]
    Idle {
        /// The bound.
        seconds: u64,
    },
    /// A tier failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The export's task was lost.
    #[error("the export's task was lost")]
    Lost,
}

/// The exports that run.
pub(crate) struct Exports {
    limits: ExportLimits,
    shares: Arc<Shares>,
}

impl Exports {
    pub(crate) fn new(limits: ExportLimits) -> Self {
        Self {
            limits,
            shares: Shares::new("exports", limits.per_tenant as u64, limits.total as u64),
        }
    }

    pub(crate) fn begin(
        &self,
        store: &Store,
        objects: &Arc<Objects>,
        tenant: TenantId,
        options: ExportOptions,
    ) -> Result<Export, ExportError> {
        let share = self.shares.take(tenant).map_err(|full| match full {
            Full::Tenant => ExportError::TooMany {
                limit: self.limits.per_tenant,
            },
            Full::All => ExportError::Busy,
        })?;
        let (send, chunks) = mpsc::channel(AHEAD);
        let job = Job {
            merge: Merge::new(store.clone(), Arc::clone(objects), tenant, &options),
            lines: Lines::new(&options),
            left: options.limit,
            send,
            idle: self.limits.idle,
            share,
        };
        let task = tokio::spawn(ReadKind::Export.scope(job.run()));
        Ok(Export {
            chunks,
            ended: false,
            _task: Task(task.abort_handle()),
        })
    }
}

/// Ends with its handle.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running export. Dropping it ends it.
pub struct Export {
    chunks: mpsc::Receiver<Message>,
    ended: bool,
    _task: Task,
}

impl Export {
    /// The next bytes, which are whole lines; none at the end. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ExportError>> {
        if self.ended {
            return None;
        }
        match self.chunks.recv().await {
            Some(Message::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Message::End) => {
                self.ended = true;
                None
            }
            Some(Message::Failed(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            // Chunks that stop are no end: a task that was lost must not look like a short export.
            None => {
                self.ended = true;
                Some(Err(ExportError::Lost))
            }
        }
    }
}

enum Message {
    Chunk(Bytes),
    Failed(ExportError),
    End,
}

/// All that the task owns.
struct Job {
    merge: Merge,
    lines: Lines,
    left: Option<u64>,
    send: mpsc::Sender<Message>,
    idle: Duration,
    share: Share,
}

impl Job {
    async fn run(mut self) {
        let end = match self.write().await {
            Ok(()) => Message::End,
            // What is whole is sent: less is left for the next attempt.
            Err(error) => {
                let _ = self.send_lines().await;
                Message::Failed(error)
            }
        };
        // Given back before the end is sent: a reader that asks again at once must find it free.
        drop(self.share);
        // A reader that is gone needs no end. One that sleeps sees the channel close.
        let _ = timeout(self.idle, self.send.send(end)).await;
    }

    async fn write(&mut self) -> Result<(), ExportError> {
        while self.left != Some(0) {
            let Some(invoice) = self.merge.next().await? else {
                break;
            };
            self.left = self.left.map(|left| left - 1);
            self.lines.push(&invoice)?;
            if self.lines.bytes() >= CHUNK {
                self.send_lines().await?;
            }
        }
        self.send_lines().await
    }

    async fn send_lines(&mut self) -> Result<(), ExportError> {
        let chunk = self.lines.take()?;
        if chunk.is_empty() {
            return Ok(());
        }
        counter!("sheaf_export_bytes_total").increment(chunk.len() as u64);
        let sent = timeout(self.idle, self.send.send(Message::Chunk(chunk.into()))).await;
        // A reader that is gone is one that takes nothing any more.
        sent.ok().and_then(Result::ok).ok_or(ExportError::Idle {
            seconds: self.idle.as_secs(),
        })
    }
}

/// Lines that are not sent yet.
enum Lines {
    Ndjson(Vec<u8>),
    Csv(Box<Table>),
}

impl Lines {
    fn new(options: &ExportOptions) -> Self {
        match options.format {
            ExportFormat::Ndjson => Self::Ndjson(Vec::new()),
            ExportFormat::Csv => Self::Csv(Box::new(Table::new(options.after.is_none()))),
        }
    }

    fn push(&mut self, invoice: &Invoice) -> Result<(), ArchiveError> {
        match self {
            Self::Ndjson(lines) => {
                invoice.render_into(lines);
                lines.push(b'\n');
                Ok(())
            }
            Self::Csv(table) => table.push(invoice),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Ndjson(lines) => lines.len(),
            Self::Csv(table) => table.bytes(),
        }
    }

    fn take(&mut self) -> Result<Vec<u8>, ArchiveError> {
        match self {
            Self::Ndjson(lines) => Ok(std::mem::take(lines)),
            Self::Csv(table) => table.take(),
        }
    }
}
