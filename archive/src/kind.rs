//! What a read of the storage is for: the label of the archive's metrics.

use std::future::Future;

use metrics::counter;

tokio::task_local! {
    static KIND: ReadKind;
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
    /// Files that are written anew: compaction and erasure.
    Rewrite,
    /// `sheaf archive verify`.
    Verify,
    /// Anything else.
    Other,
}

impl ReadKind {
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

    /// Runs `work`, whose reads are of this kind. What it spawns is not: that names its kind itself.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        KIND.scope(self, work)
    }

    /// The kind of the reads of this task.
    pub fn current() -> Self {
        KIND.try_with(|kind| *kind).unwrap_or(Self::Other)
    }
}

/// Counts one event of the current kind.
pub(crate) fn count(name: &'static str) {
    counter!(name, "kind" => ReadKind::current().as_str()).increment(1);
}

/// Counts one read of the current kind that brought so many bytes.
pub(crate) fn count_read(bytes: u64) {
    count("sheaf_cold_gets_total");
    counter!("sheaf_cold_bytes_total", "kind" => ReadKind::current().as_str()).increment(bytes);
}
