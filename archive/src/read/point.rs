//! Reads of archived invoices: point reads here, lists in [`crate::read::list`].

use std::sync::Arc;

use sheaf_model::{Invoice, TenantId};
use sheaf_store::{ArchiveFile, ArchivedInvoice, ColdInvoice, EventRow, Store};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::row_group::RowGroupData;
use crate::file::rows::{DecodeError, Rows};
use crate::object::cache::Objects;
use crate::object::purpose::ReadKind;
use crate::object::storage::StorageError;

/// Reads archived invoices. Cheap to clone.
#[derive(Clone)]
pub struct ColdReader {
    pub(crate) store: Store,
    pub(crate) objects: Arc<Objects>,
}

type Take<T> = fn(&Rows<'_>, usize) -> Result<T, DecodeError>;

impl ColdReader {
    pub(crate) fn new(store: Store, objects: Arc<Objects>) -> Self {
        Self { store, objects }
    }

    /// The invoice, if an archive file is its tier. One ranged GET with a cached footer, two
    /// without.
    ///
    /// # Errors
    /// The catalog or the storage fails, or the object is damaged.
    pub async fn get(&self, tenant: TenantId, id: Uuid) -> Result<Option<Invoice>, ArchiveError> {
        self.find(tenant, id, |rows, row| rows.invoice(row)).await
    }

    /// The invoice with its history.
    ///
    /// # Errors
    /// As [`ColdReader::get`].
    pub async fn get_with_events(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<ArchivedInvoice>, ArchiveError> {
        self.find(tenant, id, |rows, row| rows.archived(row)).await
    }

    /// The history of an archived invoice, by id.
    ///
    /// # Errors
    /// As [`ColdReader::get`].
    pub async fn events(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Vec<EventRow>>, ArchiveError> {
        Ok(self
            .get_with_events(tenant, id)
            .await?
            .map(|found| found.events))
    }

    /// The invoice with its history, and the file that is its tier.
    pub(crate) async fn fetch(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<ColdInvoice>, ArchiveError> {
        let found = self
            .find_with_file(tenant, id, |rows, row| rows.archived(row))
            .await?;
        Ok(found.map(|(archived, file)| ColdInvoice { archived, file }))
    }

    async fn find<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: Uuid,
        take: Take<T>,
    ) -> Result<Option<T>, ArchiveError> {
        let found = self.find_with_file(tenant, id, take).await?;
        Ok(found.map(|(found, _)| found))
    }

    async fn find_with_file<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: Uuid,
        take: Take<T>,
    ) -> Result<Option<(T, ArchiveFile)>, ArchiveError> {
        let find = || ReadKind::Point.scope(self.find_once(tenant, id, take));
        match find().await {
            // The file was superseded and collected since the catalog was read: it names the
            // successor by now.
            Err(ArchiveError::Storage(StorageError::NotFound { .. })) => find().await,
            answer => answer,
        }
    }

    async fn find_once<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: Uuid,
        take: Take<T>,
    ) -> Result<Option<(T, ArchiveFile)>, ArchiveError> {
        let files = self.store.archive_files_for_id(tenant, id).await?;
        let ambiguous = files.len() > 1;
        for file in files {
            if let Some(found) = self.find_in(&file, id, ambiguous, take).await? {
                return Ok(Some((found, file)));
            }
        }
        Ok(None)
    }

    /// `ambiguous`: other files cover the id as well, so a small read of the Bloom filter may save
    /// a large one.
    async fn find_in<T: Send + 'static>(
        &self,
        file: &ArchiveFile,
        id: Uuid,
        ambiguous: bool,
        take: Take<T>,
    ) -> Result<Option<T>, ArchiveError> {
        let footer = self.objects.footer(file).await?;
        let Some(row_group) = footer.group_of(id) else {
            return Ok(None);
        };
        if footer.page_of(row_group, id).is_none() {
            return Ok(None);
        }
        if ambiguous
            && !self
                .objects
                .may_hold(&footer, row_group, "id", &id.to_string())
                .await?
        {
            return Ok(None);
        }
        let base = footer.row_groups[row_group].bytes.start;
        let bytes = self.objects.row_group(&footer, row_group).await?;
        let data = RowGroupData::new(footer, row_group, bytes, base);
        tokio::task::spawn_blocking(move || data.find(id, take)).await?
    }
}
