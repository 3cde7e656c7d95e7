//! The progress of a run, and the steps at which tests stop it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// The receiver of a run's progress; the commands draw a bar of it.
pub trait Progress: Send + Sync {
    /// Another piece of work begins: a tenant and period, or an object.
    fn begin(&self, what: &str) {
        let _ = what;
    }

    /// `by` more invoices (tiering) or objects (verify, gc) are done.
    fn advance(&self, by: u64) {
        let _ = by;
    }
}

/// Progress that nobody follows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// The steps of the protocols at which a process may die. The invariants hold at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The lock is taken.
    Locked,
    /// The catalog has a staged row.
    Staged,
    /// All rows of the part were read.
    Read,
    /// The Parquet file is complete on the local disk.
    Encoded,
    /// The object is in the storage.
    Uploaded,
    /// The object was read back and compared.
    Verified,
    /// The handover transaction is next.
    BeforeHandover,
    /// The handover transaction has committed.
    AfterHandover,
    /// All units are done; years are dropped next.
    UnitsDone,
    /// Empty years were dropped.
    YearsDropped,
    /// gc: a catalog row became garbage.
    GcMarked,
    /// gc: its object is deleted.
    GcObjectDeleted,
}

impl Step {
    /// Every step, in the order of the protocols.
    pub const ALL: [Self; 12] = [
        Self::Locked,
        Self::Staged,
        Self::Read,
        Self::Encoded,
        Self::Uploaded,
        Self::Verified,
        Self::BeforeHandover,
        Self::AfterHandover,
        Self::UnitsDone,
        Self::YearsDropped,
        Self::GcMarked,
        Self::GcObjectDeleted,
    ];

    /// Whether gc reaches it, not tiering.
    pub fn is_gc(self) -> bool {
        matches!(self, Self::GcMarked | Self::GcObjectDeleted)
    }

    /// In kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Staged => "staged",
            Self::Read => "read",
            Self::Encoded => "encoded",
            Self::Uploaded => "uploaded",
            Self::Verified => "verified",
            Self::BeforeHandover => "before-handover",
            Self::AfterHandover => "after-handover",
            Self::UnitsDone => "units-done",
            Self::YearsDropped => "years-dropped",
            Self::GcMarked => "gc-marked",
            Self::GcObjectDeleted => "gc-object-deleted",
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|step| step.as_str() == s);
        found.ok_or_else(|| format!("no such step: {s}"))
    }
}

/// The receiver of each step, before the run goes on. Tests park or change things here.
pub trait Checkpoint: Send + Sync {
    /// The run goes on when the future is done.
    fn reached(&self, step: Step) -> BoxFuture<'_, ()>;
}

/// A checkpoint that lets every step pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCheckpoint;

impl Checkpoint for NoCheckpoint {
    fn reached(&self, _: Step) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
