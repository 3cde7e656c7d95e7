//! The keys that a tenant's archived files hold: at hand, or loaded by whoever needs them.
//!
//! A batch never waits for the archive. It takes what is at hand; whoever needs more leaves the
//! batch, loads it in the task of its own request, and comes back. So a tenant whose objects are
//! slow or missing waits and fails alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use sheaf_model::TenantId;

use crate::cluster::batch::{Carried, Needs};
use crate::types::{ArchiveFile, FileKeys};
use crate::{ColdKeys, Store, StoreError};

/// Time for all that one request needs of its tenant's archive.
const PATIENCE: Duration = Duration::from_secs(20);
/// Files whose keys one request loads at the same time.
const FILES_AT_ONCE: usize = 4;

/// Archived files and their keys.
pub(crate) type ColdFiles = Vec<(ArchiveFile, Arc<FileKeys>)>;

/// The keys of all files that a tenant has in a year.
#[derive(Debug)]
pub(crate) struct YearKeys {
    tenant: TenantId,
    year: i16,
    files: ColdFiles,
}

/// Whether the keys are those of exactly these files.
pub(crate) fn are_of(keys: &ColdFiles, files: &[ArchiveFile]) -> bool {
    keys.len() == files.len()
        && files.iter().all(|file| {
            keys.iter()
                .any(|(mine, _)| mine.object_key == file.object_key)
        })
}

impl Store {
    /// The keys of the files that the tenant is known to have in a year, without waiting; `None`
    /// where they have to be loaded first.
    pub(crate) fn keys_at_hand(
        &self,
        tenant: TenantId,
        year: i16,
        carried: &[Arc<YearKeys>],
    ) -> Option<ColdFiles> {
        let known = self.inner.archived.get(&(tenant, year));
        let files: &[ArchiveFile] = known.as_ref().map_or(&[], |files| files.as_slice());
        let mine = carried
            .iter()
            .find(|keys| (keys.tenant, keys.year) == (tenant, year));
        if let Some(mine) = mine.filter(|keys| known.is_none() || are_of(&keys.files, files)) {
            return Some(mine.files.clone());
        }
        if files.is_empty() {
            return Some(Vec::new());
        }
        let cold = self.inner.cold.get()?;
        let keys = |file: &ArchiveFile| Some((file.clone(), cold.cached(file)?));
        files.iter().map(keys).collect()
    }

    /// Loads what a request needs of its tenant's archive, in bounded time.
    pub(crate) async fn load(
        &self,
        tenant: TenantId,
        needs: Needs,
        carried: &mut Carried,
    ) -> Result<(), StoreError> {
        let loading = async {
            for year in needs.years {
                let files = self.load_keys(tenant, year).await?;
                carried
                    .keys
                    .retain(|keys| (keys.tenant, keys.year) != (tenant, year));
                carried.keys.push(Arc::new(YearKeys {
                    tenant,
                    year,
                    files,
                }));
            }
            carried.numbers.extend(self.keys_of(needs.files).await?);
            for invoice in needs.invoices {
                let found = match self.inner.cold.get() {
                    Some(archive) => archive.fetch(tenant, invoice).await?,
                    None => None,
                };
                carried.invoices.insert(invoice, found.map(Arc::new));
            }
            Ok(())
        };
        let late = |_| StoreError::Cold {
            detail: format!("it did not answer within {} s", PATIENCE.as_secs()),
        };
        tokio::time::timeout(PATIENCE, loading)
            .await
            .map_err(late)?
    }

    /// The keys of the files that the tenant is known to have in a year.
    pub(crate) async fn load_keys(
        &self,
        tenant: TenantId,
        year: i16,
    ) -> Result<ColdFiles, StoreError> {
        let Some(known) = self.inner.archived.get(&(tenant, year)) else {
            return Ok(Vec::new());
        };
        self.keys_of(known.to_vec()).await
    }

    /// The keys of published files.
    async fn keys_of(&self, files: Vec<ArchiveFile>) -> Result<ColdFiles, StoreError> {
        if files.is_empty() {
            return Ok(ColdFiles::new());
        }
        let cold = self.cold()?;
        stream::iter(files)
            .map(|file| async move {
                let keys = cold.load(&file).await?;
                Ok((file, keys))
            })
            .buffered(FILES_AT_ONCE)
            .try_collect()
            .await
    }

    fn cold(&self) -> Result<&Arc<dyn ColdKeys>, StoreError> {
        self.inner.cold.get().ok_or_else(|| StoreError::Cold {
            detail: "the catalog names archived files, but this process has no archive configured"
                .into(),
        })
    }
}
