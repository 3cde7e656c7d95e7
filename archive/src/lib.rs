//! The cold tier: Parquet objects on S3, the tiering protocol, cold reads.
//!
//! | module | job |
//! |---|---|
//! | [`schema`], [`encode`], [`decode`] | invoices to Parquet and back |
//! | [`layout`] | keys of objects |
//! | [`storage`], [`s3`] | object storage behind a trait |
//! | [`tiering`] | runs of the tiering protocol |
//! | [`read`], [`list`], [`merge`] | reads from the cold tier, and from both tiers as one |
//! | [`keys`] | uniqueness of keys across the tiers |
//! | [`verify`], [`gc`] | the archive by hand |
//!
//! The one crate that knows Parquet and S3. Catalog and hot rows are the store's: there is no SQL here.

use std::sync::Arc;
use std::time::Duration;

use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, FileState, Store};

mod check;
mod columns;
pub mod decode;
pub mod encode;
mod error;
mod footer;
pub mod gc;
mod group;
pub mod keys;
pub mod layout;
pub mod list;
pub mod merge;
pub mod objects;
pub mod progress;
pub mod read;
pub mod s3;
pub mod schema;
pub mod storage;
pub mod tiering;
pub mod totals;
mod unit;
pub mod verify;

pub use error::ArchiveError;
pub use gc::{DEFAULT_GRACE, GcReport};
pub use list::ColdPage;
pub use merge::{InvoiceReader, MergedPage, Tier};
pub use progress::{Checkpoint, Pass, Progress, Silent, Step};
pub use read::ColdReader;
pub use s3::S3Config;
pub use tiering::{RunOptions, RunSummary, Tiering};
pub use verify::{Problem, VerifyReport};

use storage::ColdStorage;

/// The cold tier of one store. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Store,
    storage: Arc<dyn ColdStorage>,
    reader: InvoiceReader,
    checkpoint: Arc<dyn Checkpoint>,
}

impl Archive {
    /// Connects to the bucket and gives the store sight of archived keys.
    ///
    /// # Errors
    /// The bucket does not exist or may not be used.
    pub async fn connect(store: Store, config: S3Config) -> Result<Self, ArchiveError> {
        let storage = s3::S3Storage::connect(&config).await;
        storage.check_bucket().await?;
        Ok(Self::with_storage(store, Arc::new(storage)))
    }

    /// The archive over any storage.
    pub fn with_storage(store: Store, storage: Arc<dyn ColdStorage>) -> Self {
        let objects = Arc::new(objects::Objects::new(
            storage.clone(),
            objects::FOOTER_CACHE_BYTES,
        ));
        store.set_cold_keys(Arc::new(keys::ArchivedKeys::new(&store, objects.clone())));
        let reader = InvoiceReader::new(store.clone(), ColdReader::new(store.clone(), objects));
        Self {
            store,
            storage,
            reader,
            checkpoint: Arc::new(Pass),
        }
    }

    /// Tells `checkpoint` of each step of [`Archive::tiering`] and [`Archive::gc`].
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// Reads invoices wherever they are.
    pub fn reader(&self) -> &InvoiceReader {
        &self.reader
    }

    /// Runs tiering.
    pub fn tiering(&self) -> Tiering {
        Tiering::new(self.store.clone(), self.storage.clone())
            .with_checkpoint(self.checkpoint.clone())
    }

    /// Published files of a tenant, by period and part.
    ///
    /// # Errors
    /// The store fails.
    pub async fn ls(&self, tenant: TenantId) -> Result<Vec<ArchiveFile>, ArchiveError> {
        verify::files_of(&self.store, tenant, &[FileState::Published]).await
    }

    /// Reads every published object of a tenant (or of all) whole, and compares catalog and storage.
    ///
    /// # Errors
    /// The store or the storage fails. What does not fit is no error, but in the report.
    pub async fn verify(
        &self,
        tenant: Option<TenantId>,
        progress: &dyn Progress,
    ) -> Result<VerifyReport, ArchiveError> {
        verify::verify(&self.store, &self.storage, tenant, progress).await
    }

    /// Deletes what is older than `grace` and nobody's: stale attempts, replaced generations, orphaned objects.
    ///
    /// # Errors
    /// [`ArchiveError::AlreadyRunning`] while tiering runs; else what the store or the storage answers.
    pub async fn gc(
        &self,
        tenant: Option<TenantId>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<GcReport, ArchiveError> {
        let gc = gc::Gc {
            store: &self.store,
            storage: &self.storage,
            checkpoint: self.checkpoint.as_ref(),
            grace,
            dry_run,
        };
        gc.run(tenant).await
    }
}
