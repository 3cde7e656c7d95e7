//! What the store asks the archive, which implements it, and what comes back.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sheaf_model::{Invoice, TenantId};
use uuid::Uuid;

use crate::cold::file::{ArchiveFile, FileKeys};
use crate::error::StoreError;
use crate::event::row::EventRow;

/// A whole invoice with its history, as tiering reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedInvoice {
    /// The document.
    pub invoice: Invoice,
    /// Its events by id.
    pub events: Vec<EventRow>,
}

/// An archived invoice and where it was read.
#[derive(Clone, Debug)]
pub struct ColdInvoice {
    /// The document with its history.
    pub archived: ArchivedInvoice,
    /// Its tier.
    pub file: ArchiveFile,
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
