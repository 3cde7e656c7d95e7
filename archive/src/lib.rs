//! The cold tier: Parquet objects on S3, the tiering protocol, cold reads.
//!
//! The one crate that knows Parquet and S3. Catalog and hot rows are the store's: there is no SQL
//! here.

// What only queries read of files.
#![cfg_attr(not(feature = "sql"), allow(dead_code))]

pub mod care;
pub mod file;
pub mod object;
pub mod read;
pub mod run;

use std::sync::Arc;
use std::time::Duration;

use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, FileState, Store};

mod error;
pub mod export;
#[cfg(feature = "sql")]
pub mod query;
mod quota;
pub mod tier;

pub use crate::care::compact::{CompactOptions, CompactSummary};
pub use crate::care::erase::{Erasure, ErasureReceipt};
pub use crate::care::erasures::{ErasureOptions, ErasureSummary};
pub use crate::care::gc::{DEFAULT_GRACE, GcReport};
pub use crate::care::numbers::NumbersReport;
pub use crate::care::verify::{Problem, VerifyOptions, VerifyReport};
pub use crate::object::purpose::ReadKind;
pub use crate::object::retry::{Policy, Resilient};
pub use crate::object::s3::{Keeping, ObjectLock, S3Config};
pub use crate::quota::QueryLimits;
pub use crate::read::both_tiers::{InvoiceReader, MergedPage, Tier};
pub use crate::read::list::ColdPage;
pub use crate::read::point::ColdReader;
pub use crate::run::failures::{Failure, Failures};
pub use crate::run::progress::{Checkpoint, NoCheckpoint, Progress, Silent, Step};
pub use crate::tier::{RunOptions, RunSummary, Tiering};
pub use error::ArchiveError;
pub use export::{
    Export, ExportError, ExportFormat, ExportLimits, ExportOptions, ExportTiers, Manifest,
    ManifestFile,
};
#[cfg(feature = "sql")]
pub use query::{Answer, Format, QueryError, QueryOptions, QueryRun, QueryStats, Tiers};

use crate::care::erase::Eraser;
use crate::care::gc::Gc;
use crate::care::months::Files;
use crate::care::numbers::Numbers;
use crate::care::{compact, erasures, verify};
use crate::object::cache::{FOOTER_CACHE_BYTES, Objects};
use crate::object::purpose;
use crate::object::s3::S3Storage;
use crate::object::storage::ColdStorage;
use crate::read::taken_keys::ArchivedKeys;
use crate::run::Resources;
use export::Exports;
#[cfg(feature = "sql")]
use query::engine::Engine;

/// The cold tier of one store. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    resources: Resources,
    keys: Arc<ArchivedKeys>,
    reader: InvoiceReader,
    #[cfg(feature = "sql")]
    queries: Arc<Engine>,
    exports: Arc<Exports>,
}

impl Archive {
    /// Connects to the bucket and gives the store sight of archived keys.
    ///
    /// # Errors
    /// The bucket does not exist or may not be used.
    pub async fn connect(store: Store, config: S3Config) -> Result<Self, ArchiveError> {
        let storage = S3Storage::connect(&config).await;
        storage.check_bucket().await?;
        let storage = Resilient::new(Arc::new(storage), Policy::default());
        Ok(Self::with_storage(store, Arc::new(storage)))
    }

    /// The archive over any storage, which is taken as it is: see [`Resilient`].
    pub fn with_storage(store: Store, storage: Arc<dyn ColdStorage>) -> Self {
        let objects = Arc::new(Objects::new(storage.clone(), FOOTER_CACHE_BYTES));
        let keys = Arc::new(ArchivedKeys::new(&store, objects.clone()));
        store.set_cold_keys(keys.clone());
        purpose::count_from_zero();
        let reader = InvoiceReader::new(
            store.clone(),
            ColdReader::new(store.clone(), objects.clone()),
        );
        Self {
            #[cfg(feature = "sql")]
            queries: Arc::new(Engine::new(
                store.clone(),
                objects.clone(),
                QueryLimits::default(),
            )),
            resources: Resources {
                store,
                storage,
                objects,
                checkpoint: Arc::new(NoCheckpoint),
            },
            keys,
            reader,
            exports: Arc::new(Exports::new(ExportLimits::default())),
        }
    }

    /// Reports each step of [`Archive::tiering`] and [`Archive::gc`] to `checkpoint`.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.resources.checkpoint = checkpoint;
        self
    }

    /// Bounds queries by `limits`; nothing in a build without the feature `sql`.
    #[must_use]
    #[cfg_attr(not(feature = "sql"), expect(unused_mut, unused_variables))]
    pub fn with_query_limits(mut self, limits: QueryLimits) -> Self {
        #[cfg(feature = "sql")]
        {
            let Resources { store, objects, .. } = self.resources.clone();
            self.queries = Arc::new(Engine::new(store, objects, limits));
        }
        self
    }

    /// Plans a query over the tenant's archive and begins to run it. Its answer is read from the
    /// run; dropping that ends it.
    ///
    /// # Errors
    /// Those of [`QueryError`] that are known before the first row.
    #[cfg(feature = "sql")]
    pub async fn query(
        &self,
        tenant: TenantId,
        sql: &str,
        options: QueryOptions,
    ) -> Result<QueryRun, QueryError> {
        self.queries.run(tenant, sql, options).await
    }

    /// Bounds exports by `limits`.
    #[must_use]
    pub fn with_export_limits(mut self, limits: ExportLimits) -> Self {
        self.exports = Arc::new(Exports::new(limits));
        self
    }

    /// Begins an export of some years of a tenant, ascending by id, each invoice once. It is read
    /// from what is answered; dropping that ends it.
    ///
    /// # Errors
    /// Too many run already.
    pub fn export(&self, tenant: TenantId, options: ExportOptions) -> Result<Export, ExportError> {
        let Resources { store, objects, .. } = &self.resources;
        self.exports.begin(store, objects, tenant, options)
    }

    /// The archived files of some years of a tenant as one snapshot has them, each with a URL that
    /// works for `expires`.
    ///
    /// # Errors
    /// There are too many files or copies out of date; the store or the storage fails.
    pub async fn manifest(
        &self,
        tenant: TenantId,
        years: std::ops::RangeInclusive<i16>,
        expires: Duration,
    ) -> Result<Manifest, ExportError> {
        let Resources { store, storage, .. } = &self.resources;
        export::manifest(store, storage.as_ref(), tenant, years, expires).await
    }

    /// Reads of invoices in either tier.
    pub fn reader(&self) -> &InvoiceReader {
        &self.reader
    }

    /// Runs tiering.
    pub fn tiering(&self) -> Tiering {
        Tiering::new(self.resources.clone())
    }

    /// Published files of a tenant, by period and part.
    ///
    /// # Errors
    /// The store fails.
    pub async fn ls(&self, tenant: TenantId) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let states = [FileState::Published];
        Files::new(&self.resources.store, tenant, &states)
            .all()
            .await
    }

    /// Reads every published object of a tenant (or of all) whole, and compares catalog and
    /// storage.
    ///
    /// # Errors
    /// The store or the storage fails. What does not fit is no error, but in the report.
    pub async fn verify(
        &self,
        tenant: Option<TenantId>,
        progress: &dyn Progress,
    ) -> Result<VerifyReport, ArchiveError> {
        let options = VerifyOptions {
            tenant,
            ..VerifyOptions::default()
        };
        self.verify_with(options, progress).await
    }

    /// Goes on with every erasure that is not complete: both tiers, then the receipt.
    ///
    /// # Errors
    /// As [`Archive::erase_customer`]. Receipts that were written until then stay.
    pub async fn run_erasures(
        &self,
        options: ErasureOptions,
        progress: &dyn Progress,
    ) -> Result<ErasureSummary, ArchiveError> {
        erasures::run_erasures(self.resources.run(progress), options).await
    }

    /// As [`Archive::verify`], held down to a rate, or from a tenant on.
    ///
    /// # Errors
    /// As [`Archive::verify`].
    pub async fn verify_with(
        &self,
        options: VerifyOptions,
        progress: &dyn Progress,
    ) -> Result<VerifyReport, ArchiveError> {
        verify::verify(self.resources.run(progress), options).await
    }

    /// Reads the numbers of a tenant (or of all) in both tiers: enters those of documents that an
    /// older release issued in another year than that of their id, and finds those that several
    /// documents have. What it finds stays as it is. It may be stopped, and run again, while
    /// everybody works.
    ///
    /// # Errors
    /// The store or the storage fails. What was entered stays.
    pub async fn check_numbers(
        &self,
        tenant: Option<TenantId>,
        progress: &dyn Progress,
    ) -> Result<NumbersReport, ArchiveError> {
        let numbers = Numbers {
            run: self.resources.run(progress),
            keys: &self.keys,
        };
        numbers.run(tenant).await
    }

    /// Makes one file of the small files of each month, without the copies that recalls have put
    /// out of date. At any failure every invoice is where it was, or in the new file.
    ///
    /// # Errors
    /// [`ArchiveError::AlreadyRunning`] while tiering runs, [`ArchiveError::Corrupt`] at the first
    /// damaged file; else what the store or the storage answers.
    pub async fn compact(
        &self,
        options: CompactOptions,
        progress: &dyn Progress,
    ) -> Result<CompactSummary, ArchiveError> {
        compact::compact(self.resources.run(progress), options).await
    }

    /// Takes a customer's personal data (name, email, tax id, address, external id) out of all
    /// archived invoices and their histories, and rewrites the files that hold any; out of the
    /// hot tier as well where it is asked to. Country, figures and the customer's id stay. Doing it
    /// again changes nothing, and finishes what was broken off.
    ///
    /// # Errors
    /// [`ArchiveError::AlreadyRunning`] while tiering runs, [`ArchiveError::Corrupt`] at the first
    /// damaged file; else what the store or the storage answers. What was rewritten until then
    /// stays so.
    pub async fn erase_customer(
        &self,
        erasure: Erasure,
        progress: &dyn Progress,
    ) -> Result<ErasureReceipt, ArchiveError> {
        let eraser = Eraser {
            run: self.resources.run(progress),
            erasure,
        };
        eraser.run().await
    }

    /// Deletes what is older than `grace` and nobody's: stale attempts, replaced generations,
    /// orphaned objects.
    ///
    /// # Errors
    /// [`ArchiveError::AlreadyRunning`] while tiering runs; else what the store or the storage
    /// answers.
    pub async fn gc(
        &self,
        tenant: Option<TenantId>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<GcReport, ArchiveError> {
        self.gc_with(tenant, grace, dry_run, &Silent).await
    }

    /// As [`Archive::gc`], reporting its progress.
    ///
    /// # Errors
    /// As [`Archive::gc`].
    pub async fn gc_with(
        &self,
        tenant: Option<TenantId>,
        grace: Duration,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<GcReport, ArchiveError> {
        let gc = Gc {
            run: self.resources.run(progress),
            grace,
            dry_run,
        };
        gc.run(tenant).await
    }
}
