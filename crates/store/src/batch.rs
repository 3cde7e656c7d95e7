//! The store as what batches run on: what its members need of the archive, and bring along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_cluster::Cluster;
use sheaf_cluster::batch::{self, Context};
use sheaf_model::TenantId;
use uuid::Uuid;

use crate::cold::archive::ColdInvoice;
use crate::cold::file::{ArchiveFile, ColdFiles};
use crate::cold::keys::YearKeys;
use crate::invoice::create::customer_ref::CustomerRef;
use crate::{Store, StoreError, WeakStore};

/// Why an attempt ended without a commit.
pub(crate) type Abort = batch::Abort<Store>;
/// What a member brings along from earlier attempts.
pub(crate) type Carried = batch::Carried<Store>;
/// How a member leaves its batch.
pub(crate) type End<T> = batch::End<Store, T>;

/// What has to be loaded of one tenant's archive.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The keys of the files of these years.
    pub(crate) years: BTreeSet<i16>,
    /// The keys of these files, which may have the next numbers of a series that runs through the
    /// years.
    pub(crate) files: Vec<ArchiveFile>,
    /// Invoices that are not hot.
    pub(crate) invoices: BTreeSet<Uuid>,
}

impl Needs {
    /// None where there is nothing to load.
    pub(crate) fn any(self) -> Option<Self> {
        let is_any = !(self.years.is_empty() && self.files.is_empty() && self.invoices.is_empty());
        is_any.then_some(self)
    }
}

/// What a member brings along that is the store's own.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// How a create names its customer: writing fills in what the client left out.
    pub(crate) customer: CustomerRef,
    /// Keys of archived files, by year.
    pub(crate) keys: Vec<Arc<YearKeys>>,
    /// Keys of files that may have the next numbers of a series.
    pub(crate) numbers: ColdFiles,
    /// Archived invoices: as read, or known to be nowhere.
    pub(crate) invoices: BTreeMap<Uuid, Option<Arc<ColdInvoice>>>,
}

/// Which archived files tenants have in a year, as a transaction met them.
pub(crate) type ArchivedNow = Vec<((TenantId, i16), Vec<ArchiveFile>)>;

impl Context for Store {
    type Weak = WeakStore;
    type Error = StoreError;
    type Needs = Needs;
    /// The archive's files in these years of these tenants are others than the batch was checked
    /// against.
    type Stale = ArchivedNow;
    type Carried = Attachment;

    const STALE: &'static str = "archived files of the request's year";

    fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    fn downgrade(&self) -> WeakStore {
        Store::downgrade(self)
    }

    fn upgrade(weak: &WeakStore) -> Option<Self> {
        weak.upgrade()
    }

    fn remember(&self, stale: ArchivedNow) {
        for (year, files) in stale {
            self.inner.archived.insert(year, Arc::new(files));
        }
    }

    fn forget_partitions(&self) {
        self.forget_years();
    }

    async fn load(
        &self,
        tenant: TenantId,
        needs: Needs,
        carried: &mut Attachment,
    ) -> Result<(), StoreError> {
        self.load_archived(tenant, needs, carried).await
    }
}

/// The error of work that the archive's changes kept out of date.
pub(crate) fn moving() -> StoreError {
    batch::moving::<Store>()
}
