//! The keys that a tenant's archived files hold: at hand, or loaded by whoever needs them.
//!
//! A batch never waits for the archive. It takes what is at hand; whoever needs more leaves the
//! batch, loads it in the task of its own request, and comes back. So a tenant whose objects are
//! slow or missing waits and fails alone.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use sheaf_model::TenantId;

use crate::cold::archive::ColdKeys;
use crate::cold::file::{ArchiveFile, ColdFiles};
use crate::{Store, StoreError};

/// Files whose keys one request loads at the same time.
const FILES_AT_ONCE: usize = 4;

/// The keys of all files that a tenant has in a year.
#[derive(Debug)]
pub(crate) struct YearKeys {
    pub(crate) tenant: TenantId,
    pub(crate) year: i16,
    pub(crate) files: ColdFiles,
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
    pub(crate) async fn keys_of(&self, files: Vec<ArchiveFile>) -> Result<ColdFiles, StoreError> {
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
