//! An archived file, as the catalog has it, and the keys that it holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sheaf_model::{Period, TenantId};
use uuid::Uuid;

use sheaf_cluster::Error;

use crate::error::StoreError;

/// Archived files and their keys.
pub(crate) type ColdFiles = Vec<(ArchiveFile, Arc<FileKeys>)>;

/// Where an object of the cold tier is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// Being written; its invoices are hot.
    Staged,
    /// The tier of its invoices.
    Published,
    /// Replaced by a later generation.
    Superseded,
    /// Never to be read; the object is to be deleted.
    Garbage,
}

impl FileState {
    /// As stored and answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::Garbage => "garbage",
        }
    }
}

impl std::str::FromStr for FileState {
    type Err = StoreError;

    fn from_str(s: &str) -> Result<Self, StoreError> {
        match s {
            "staged" => Ok(Self::Staged),
            "published" => Ok(Self::Published),
            "superseded" => Ok(Self::Superseded),
            "garbage" => Ok(Self::Garbage),
            other => Err(Error::Corrupt(format!("archive file state {other:?}")).into()),
        }
    }
}

/// A row of the cold tier's catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveFile {
    /// Owner.
    pub tenant_id: TenantId,
    /// Month of its invoices' ids.
    pub period: Period,
    /// Number of the part within the period, from 0.
    pub part: i32,
    /// Counts the writings of the part, from 1.
    pub generation: i32,
    /// Key within the bucket.
    pub object_key: String,
    /// Where it is in its life.
    pub state: FileState,
    /// Smallest id; nil while staged.
    pub min_id: Uuid,
    /// Largest id; nil while staged.
    pub max_id: Uuid,
    /// Rows.
    pub invoices: i64,
    /// Lines of all rows.
    pub lines: i64,
    /// Payments of all rows.
    pub payments: i64,
    /// Events of all rows.
    pub events: i64,
    /// Size of the object.
    pub bytes: i64,
    /// Offset of the page indexes, which the footer follows.
    pub tail_offset: i64,
    /// Of the whole object; none while staged.
    pub sha256: Option<[u8; 32]>,
    /// Sum of totals by currency and kind: `{"GBP": {"invoice": "1.00"}}`.
    pub sums: serde_json::Value,
    /// Version of the Parquet schema.
    pub schema_version: i32,
    /// When the attempt began.
    pub staged_at: DateTime<Utc>,
    /// When it became its invoices' tier.
    pub published_at: Option<DateTime<Utc>>,
    /// When a later generation replaced it; of a garbage file that was published once, since when
    /// an answer to the deletion of its object is missing.
    pub superseded_at: Option<DateTime<Utc>>,
    /// SHA-256 from `tail_offset` on; none while staged, and of files that were written before this
    /// was kept.
    pub tail_sha256: Option<[u8; 32]>,
    /// Which numbers it may have, when it is to be published: [`crate::NumberRanges`]. Not read
    /// back.
    pub numbers: Option<serde_json::Value>,
}

/// What a file of the cold tier holds, for uniqueness across the tiers.
#[derive(Clone, Debug, Default)]
pub struct FileKeys {
    /// All ids.
    pub ids: HashSet<Uuid>,
    /// External ids and whose they are.
    pub external_ids: HashMap<Box<str>, Uuid>,
    /// Numbers and whose they are.
    pub numbers: HashMap<Box<str>, Uuid>,
}
