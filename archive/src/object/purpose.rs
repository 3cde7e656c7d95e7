//! The purpose of a read of the storage: the label of the archive's metrics.

use std::cell::Cell;
use std::future::Future;

use metrics::counter;
use sheaf_store::SPANS;
use tracing::field::Empty;
use tracing::{Instrument, Span};

tokio::task_local! {
    static READ: Read;
}

/// A read in progress: its purpose, and its GETs and bytes so far, for its span.
struct Read {
    kind: ReadKind,
    gets: Cell<u64>,
    bytes: Cell<u64>,
    span: Span,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.span.record("gets", self.gets.get());
        self.span.record("bytes", self.bytes.get());
    }
}

/// What the storage is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadKind {
    /// One invoice.
    Point,
    /// A page of invoices.
    List,
    /// Uniqueness of keys.
    Keys,
    /// SQL over archived years.
    Query,
    /// Exports.
    Export,
    /// What tiering wrote, read back.
    Tiering,
    /// Files that are rewritten: compaction and erasure.
    Rewrite,
    /// `sheaf archive verify`.
    Verify,
    /// Anything else.
    Other,
}

impl ReadKind {
    const ALL: [Self; 9] = [
        Self::Point,
        Self::List,
        Self::Keys,
        Self::Query,
        Self::Export,
        Self::Tiering,
        Self::Rewrite,
        Self::Verify,
        Self::Other,
    ];

    /// The metrics' label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::List => "list",
            Self::Keys => "keys",
            Self::Query => "query",
            Self::Export => "export",
            Self::Tiering => "tiering",
            Self::Rewrite => "rewrite",
            Self::Verify => "verify",
            Self::Other => "other",
        }
    }

    /// Runs `work`, whose reads are of this kind. What it spawns is not: that names its kind
    /// itself. A span of the trace begins here.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        let span = tracing::info_span!(
            target: SPANS, "cold read", kind = self.as_str(), gets = Empty, bytes = Empty
        );
        let read = Read {
            kind: self,
            gets: Cell::new(0),
            bytes: Cell::new(0),
            span: span.clone(),
        };
        READ.scope(read, work).instrument(span)
    }

    /// The kind of the reads of this task.
    pub fn current() -> Self {
        READ.try_with(|read| read.kind).unwrap_or(Self::Other)
    }
}

/// Counts one event of the current kind.
pub(crate) fn count(name: &'static str) {
    counter!(name, "kind" => ReadKind::current().as_str()).increment(1);
}

/// Counts one read of the current kind, and its bytes.
pub(crate) fn count_read(bytes: u64) {
    count("sheaf_cold_gets_total");
    counter!("sheaf_cold_bytes_total", "kind" => ReadKind::current().as_str()).increment(bytes);
    // Outside of any it is of no span.
    let _of_none = READ.try_with(|read| {
        read.gets.set(read.gets.get().saturating_add(1));
        read.bytes.set(read.bytes.get().saturating_add(bytes));
    });
}

/// Counters that are there from the start: what first appears as 1 has never risen, to whoever
/// watches.
pub(crate) fn count_from_zero() {
    let of_kind = [
        "sheaf_cold_gets_total",
        "sheaf_cold_bytes_total",
        "sheaf_cold_footer_hits_total",
        "sheaf_cold_footer_misses_total",
        "sheaf_cold_retries_total",
        "sheaf_cold_hedges_total",
        "sheaf_cold_failures_total",
        "sheaf_cold_damaged_total",
    ];
    for name in of_kind {
        for kind in ReadKind::ALL {
            counter!(name, "kind" => kind.as_str()).increment(0);
        }
    }
    for outcome in ["done", "failed"] {
        counter!("sheaf_tiering_runs_total", "outcome" => outcome).increment(0);
        counter!("sheaf_compaction_runs_total", "outcome" => outcome).increment(0);
    }
}
