//! The store's own nouns: what callers hand in and get back besides the invoice itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::future::BoxFuture;
use sheaf_model::invoice::lifecycle;
use sheaf_model::{Code, Invoice, Kind, Period, Status, TenantId};
use uuid::Uuid;

use crate::{Held, StoreError};

/// A customer of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Shard key of everything it owns.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// The platform's own key, unique.
    pub external_id: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// For people.
    pub name: String,
    /// The platform's own key.
    pub external_id: Option<String>,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything within the tenant.
    Admin,
    /// Reads and writes documents.
    Finance,
    /// Reads.
    Viewer,
}

impl Role {
    /// As stored and answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Finance => "finance",
            Self::Viewer => "viewer",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "admin" => Ok(Self::Admin),
            "finance" => Ok(Self::Finance),
            "viewer" => Ok(Self::Viewer),
            _ => Err(()),
        }
    }
}

/// An API key; the key itself is known to its owner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Handle for listing and revoking.
    pub id: Uuid,
    /// Whose data it opens.
    pub tenant_id: TenantId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The readable start of the key, to recognise it by.
    pub prefix: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
    /// The key that it replaces.
    pub rotated_from: Option<Uuid>,
}

/// An API key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The readable start of the key.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// When it stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key's successor, and how long both work.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The readable start of the new key.
    pub prefix: String,
    /// SHA-256 of the whole new key.
    pub hash: [u8; 32],
    /// When the new key stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
    /// By the caller's clock, which is the one that keys expire by.
    pub now: DateTime<Utc>,
    /// The old key stops so long after it, or when it would have anyway.
    pub overlap: Duration,
}

/// What a change of API keys comes with.
#[derive(Clone, Debug)]
pub struct KeyCause {
    /// Who changes it, and in which request.
    pub origin: Origin,
    /// The client's idempotency key, if it sent one.
    pub idem: Option<IdemKey>,
    /// Path of the collection that the answer's `Location` is in.
    pub collection: String,
}

/// A client's `Idempotency-Key` and what it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdemKey {
    /// As sent.
    pub key: String,
    /// SHA-256 over method, path and body.
    pub fingerprint: [u8; 32],
}

/// The first answer to an idempotent request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// HTTP status.
    pub status: u16,
    /// `Location` header.
    pub location: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// The outcome of making something with an optional idempotency key.
#[derive(Clone, Debug)]
pub enum CreateOutcome<T> {
    /// Made now.
    Created(T),
    /// Made before, by the same request.
    Replay(Replay),
}

/// Where the id of a new invoice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFrom {
    /// Made for it.
    Server,
    /// The client chose it.
    Client,
    /// Derived from its upload's idempotency key and its line's number: the line may have been
    /// stored before.
    UploadLine,
}

impl IdFrom {
    /// Whether the id may exist, in either tier.
    #[must_use]
    pub fn may_exist(self) -> bool {
        self != Self::Server
    }
}

/// An invoice on its way into the hot tier.
#[derive(Clone, Debug)]
pub struct NewInvoice {
    /// Validated, with totals and id.
    pub invoice: Invoice,
    /// Where its id comes from.
    pub id_from: IdFrom,
    /// When it comes in: the time of its event. That of `created_at`, but where an exported
    /// document is read back.
    pub at: DateTime<Utc>,
    /// Who sends it, and in which request.
    pub origin: Origin,
    /// For single creates.
    pub idem: Option<IdemKey>,
}

/// Who changes something, and in which request: kept with the events of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `api_key:<id>`, `jwt:<iss>/<sub>` or `admin`.
    pub actor: Arc<str>,
    /// The request's id.
    pub request_id: Arc<str>,
    /// What the request belongs to.
    pub trace: Trace,
}

impl Origin {
    /// A change that belongs to nothing beyond its request.
    pub fn new(actor: impl Into<Arc<str>>, request_id: impl Into<Arc<str>>) -> Self {
        Self {
            actor: actor.into(),
            request_id: request_id.into(),
            trace: Trace::default(),
        }
    }
}

/// What a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The business process, over all its requests.
    pub correlation_id: Option<Arc<str>>,
    /// The event or message that caused the request.
    pub causation_id: Option<Arc<str>>,
}

/// The answer to a single create.
#[derive(Clone, Debug)]
pub enum Created {
    /// Stored now.
    New(Box<Invoice>),
    /// Stored before, by the same request.
    Replay(Replay),
}

/// What became of one line of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineOutcome {
    /// Stored.
    Created,
    /// The invoice with this id is the same document.
    Duplicate(Uuid),
    /// The upload's key was used with another line in this place, which was stored as the invoice
    /// with this id.
    OtherLine(Uuid),
    /// Refused.
    Rejected {
        /// Stable code.
        code: Code,
        /// For the client.
        detail: String,
    },
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub has_more: bool,
}

/// What a list of invoices is narrowed to. All conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Exact status.
    pub status: Option<Status>,
    /// Exact kind.
    pub kind: Option<Kind>,
    /// Exact customer.
    pub customer_id: Option<Uuid>,
    /// Customers that count as `customer_id`: those that were merged into it, whom archived
    /// documents still name. The hot tier's list does not look for them.
    pub merged: Vec<Uuid>,
    /// Exact number.
    pub number: Option<String>,
    /// Exact external id.
    pub external_id: Option<String>,
    /// First day of issue, inclusive.
    pub issued_from: Option<NaiveDate>,
    /// Last day of issue, inclusive.
    pub issued_to: Option<NaiveDate>,
    /// Payment was due before this day, and is still owed.
    pub overdue_on: Option<NaiveDate>,
    /// Top-level metadata keys and their values.
    pub metadata: Vec<(String, String)>,
}

impl ListFilter {
    /// The same answer as the hot tier's SQL, for an invoice in hand.
    #[must_use]
    pub fn matches(&self, invoice: &Invoice) -> bool {
        self.status.is_none_or(|s| s == invoice.status)
            && self.kind.is_none_or(|k| k == invoice.kind)
            && self.customer_id.is_none_or(|c| {
                let of = invoice.customer_id;
                of.is_some_and(|of| of == c || self.merged.contains(&of))
            })
            && self
                .number
                .as_ref()
                .is_none_or(|n| invoice.number.as_ref() == Some(n))
            && self
                .external_id
                .as_ref()
                .is_none_or(|e| invoice.external_id.as_ref() == Some(e))
            && self
                .issued_from
                .is_none_or(|d| invoice.issue_date.is_some_and(|i| i >= d))
            && self
                .issued_to
                .is_none_or(|d| invoice.issue_date.is_some_and(|i| i <= d))
            && self
                .overdue_on
                .is_none_or(|day| lifecycle::is_overdue(invoice, day))
            && self
                .metadata
                .iter()
                .all(|(k, v)| invoice.metadata.matches(k, v))
    }
}

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
            other => Err(StoreError::Corrupt(format!("archive file state {other:?}"))),
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

/// The cold tier's answer to "which keys does this file hold". The archive implements it; the
/// store, which must not know of Parquet, asks it before it lets a key in.
pub trait ColdKeys: Send + Sync {
    /// Loads (or recalls from a bounded cache) the keys of one published file.
    fn load<'a>(
        &'a self,
        file: &'a ArchiveFile,
    ) -> BoxFuture<'a, Result<Arc<FileKeys>, StoreError>>;

    /// The keys of one published file, if they are in memory.
    fn cached(&self, file: &ArchiveFile) -> Option<Arc<FileKeys>>;

    /// Reads a whole archived invoice, and the file that is its tier; `None` when it is in none.
    fn fetch<'a>(
        &'a self,
        tenant: TenantId,
        id: Uuid,
    ) -> BoxFuture<'a, Result<Option<ColdInvoice>, StoreError>>;
}

/// An archived invoice and where it was read.
#[derive(Clone, Debug)]
pub struct ColdInvoice {
    /// The document with its history.
    pub archived: ArchivedInvoice,
    /// Its tier.
    pub file: ArchiveFile,
}

/// One audit event, as it moves to the archive with its invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// UUIDv7.
    pub id: Uuid,
    /// `invoice.created`, ...
    pub event_type: String,
    /// Who.
    pub actor: String,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// jsonb's text.
    pub data: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The business process that it belongs to.
    pub correlation_id: Option<String>,
    /// The event or message that caused the request.
    pub causation_id: Option<String>,
}

impl EventRow {
    /// About how many bytes it has: what a page is measured by.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Ids, times and names of members.
        const FIXED: usize = 400;
        FIXED + self.data.len()
    }
}

/// A whole invoice with its history, as tiering reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedInvoice {
    /// The document.
    pub invoice: Invoice,
    /// Its events by id.
    pub events: Vec<EventRow>,
}

/// How a handover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// The file is the tier of its invoices now.
    Done,
    /// Something changed meanwhile; nothing was done.
    Changed,
    /// Retention holds the year, and the documents were to change; nothing was done.
    Held(Held),
}
