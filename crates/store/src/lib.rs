//! The hot tier: the rows of every noun, the group-commit writer, queries. Where the rows lie, and
//! how they are reached, is known below, in `sheaf_cluster`.
//!
//! Every function names the tenant whose rows it touches; those that do not are the platform's own
//! (tenants, keys, partitions, placements).

#[doc(hidden)]
pub mod bench;

mod batch;
mod cold;
mod config;
mod customer;
mod error;
mod event;
mod idempotency;
mod invoice;
mod job_run;
mod report;
mod schema;
mod setting;
mod sql;
mod tenant;

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sheaf_cluster::Cluster;
use sheaf_cluster::batch::Work as _;
use sheaf_cluster::connect::NodeAddr;
use sheaf_cluster::fair_queue::{Job as Queued, Limits, Queues, Standing};
use sheaf_cluster::node::lent::{Lent, Use};
use sheaf_cluster::node::watch::{self, watch_placements};
use sheaf_model::TenantId;
use uuid::Uuid;

use crate::invoice::create::lookup::CustomerRow;
use crate::invoice::read::PointRead;
use crate::schema::years::Years;
use crate::schema::{migrate, role};
use crate::sql::statements::STATEMENTS;

pub use sheaf_cluster::admin::inspect::{Asked, Inspector, Member, NodeFacts, Rights, Setting};
pub use sheaf_cluster::admin::{
    AddedNode, AdminError, Canceller, ClusterAdmin, ClusterStatus, Load, Move, NodeAddress,
    NodeStatus, Plan, PlannedMove, Rebalance, ShardGroup, Skew, TenantLoad, TenantPlace,
};
pub use sheaf_cluster::shares::{Full, Share, Shares};
pub use sheaf_cluster::spans::SPANS;
pub use sheaf_cluster::supervise::{caught, panic_text, supervised};
pub use sheaf_cluster::{Config as ClusterConfig, Error as ClusterError, Route};

pub use crate::cold::archive::{ArchivedInvoice, ColdInvoice, ColdKeys};
pub use crate::cold::catalog::Retired;
pub use crate::cold::file::{ArchiveFile, FileKeys, FileState};
pub use crate::cold::handover::{Publish, SnapshotReader, TieringLock};
pub use crate::cold::replace::Replaced;
pub use crate::cold::snapshot::TenantSnapshot;
pub use crate::customer::scrub::{ERASED_NAME, is_erased, scrub, scrub_events};
pub use crate::customer::{
    Cause, CustomerError, CustomerFilter, CustomerRecord, ErasureRecord, Held, MAX_MERGED, Merged,
    Pass, Pending,
};
pub use crate::event::feed::{EVENT_PAGE_BYTES, FeedEvent, FeedPosition};
pub use crate::event::origin::{Origin, Trace};
pub use crate::event::row::EventRow;
pub use crate::event::write::NewEvent;
pub use crate::invoice::change::{Answer, ChangeError, Changed, Command, NewChange};
pub use crate::invoice::create::CreateError;
pub use crate::invoice::filter::ListFilter;
pub use crate::invoice::list::MAX_PAGE_LINES;
pub use crate::invoice::new::{Created, IdFrom, LineOutcome, NewInvoice};
pub use crate::invoice::number::enter::{DuplicateNumber, EnteredNumbers, NumberedDocument};
pub use crate::invoice::number::ranges::{NumberRanges, number_parts};
pub use crate::invoice::upload::AtomicUpload;
pub use crate::job_run::{Job, JobRun};
pub use crate::report::{
    Aging, AgingCursor, Balance, KindSum, StatusTotal, Sum, Summary, SummaryFilter,
};
pub use crate::schema::inspect::{DatabaseFacts, inspect};
pub use crate::schema::migrate::{Migrated, known_version, migrate, migrate_from, migrate_with};
pub use crate::schema::partition::FIRST_OWN_YEAR;
pub use crate::setting::archive_column::{
    MAX_METADATA_COLUMNS, MetadataColumns, NewMetadataColumns, PutMetadataColumns,
};
pub use crate::setting::expected::{Expected, Versions};
pub use crate::setting::number_series::{
    INVOICE as INVOICE_SERIES, NOTE as NOTE_SERIES, NumberSeries, YEAR as SERIES_YEAR,
};
pub use crate::setting::profile::{NewProfile, PutProfile, StoredProfile};
pub use crate::setting::retention::{NewRetention, PutRetention, Retention};
pub use crate::tenant::api_key::{ApiKey, KeyCause, MAX_API_KEYS, NewApiKey, Role, Rotation};
pub use crate::tenant::{NewTenant, PLATFORM, Tenant};
pub use config::StoreConfig;
pub use error::StoreError;
pub use idempotency::key::{CreateOutcome, IdemConflict, IdemKey, Replay};
pub use idempotency::{StoredKey, UploadAnswer, UploadKey};

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub has_more: bool,
}

/// How often the queues' standing goes into the metrics.
const QUEUES_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Customers, and (tenant, year) pairs with archived files, that are remembered.
const CACHED_CUSTOMERS: usize = 100_000;
const CACHED_YEARS: usize = 20_000;

/// The hot tier. Cheap to clone; all clones share pools, lanes and caches.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// A store that does not keep it open.
#[derive(Clone)]
pub struct WeakStore {
    inner: Weak<Inner>,
}

impl WeakStore {
    /// The store, while somebody else holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Store> {
        self.inner.upgrade().map(|inner| Store { inner })
    }
}

struct Inner {
    config: StoreConfig,
    cluster: Cluster,
    writers: Queues<Queued<NewInvoice>>,
    changes: Queues<Queued<NewChange>>,
    readers: Queues<Queued<PointRead>>,
    /// Years whose partitions are known to exist.
    years: Years,
    /// Customers that new invoices may name, and when they were seen.
    customers_by_key: Cache<(TenantId, Box<str>), (Uuid, Instant)>,
    customers_by_id: Cache<(TenantId, Uuid), (Arc<CustomerRow>, Instant)>,
    /// Published files by tenant and year, as last seen; checked again inside every transaction
    /// that relies on it.
    archived: Cache<(TenantId, i16), Arc<Vec<ArchiveFile>>>,
    cold: OnceLock<Arc<dyn ColdKeys>>,
    summaries: Cache<(TenantId, SummaryFilter), report::CachedSummary>,
    /// Turns of the reports that read all of a tenant.
    reports: Arc<Shares>,
}

impl Store {
    /// Connects, checks the schema's version, and reads where the shards are.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`], [`StoreError::SchemaTooOld`], or an unreachable database.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let client = migrate::connect(&config.cluster.database_url).await?;
        migrate::check_version(&client).await?;
        migrate::check_distributed(&client).await?;
        role::check(&client).await?;
        drop(client);
        let cluster = Cluster::connect(config.cluster.clone(), STATEMENTS).await?;
        let limits = |waiting, batches| {
            Limits::of(waiting, batches, config.cluster.max_connections_per_node)
        };
        let store = Self {
            inner: Arc::new(Inner {
                writers: Queues::new(limits(config.write_queue, config.flushes_per_node)),
                changes: Queues::new(limits(config.write_queue, config.flushes_per_node)),
                readers: Queues::new(limits(config.read_queue, config.reads_per_node)),
                cluster,
                years: Years::default(),
                customers_by_key: Cache::new(CACHED_CUSTOMERS),
                customers_by_id: Cache::new(CACHED_CUSTOMERS),
                archived: Cache::new(CACHED_YEARS),
                cold: OnceLock::new(),
                summaries: Cache::new(report::CACHED),
                reports: Shares::new("reports", 1, report::CONCURRENT),
                config,
            }),
        };
        count_from_zero();
        watch_placements(&store);
        store.watch_queues();
        Ok(store)
    }

    /// A handle that does not keep the store open.
    #[must_use]
    pub fn downgrade(&self) -> WeakStore {
        WeakStore {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Gives the store sight of archived keys. The first call counts.
    pub fn set_cold_keys(&self, keys: Arc<dyn ColdKeys>) {
        let _kept = self.inner.cold.set(keys);
    }

    /// Whether the database is a Citus cluster.
    #[must_use]
    pub fn is_citus(&self) -> bool {
        self.inner.cluster.citus
    }

    /// The kind of a queue from which nothing has been taken for [`StoreConfig::queue_stall`],
    /// while work waits in it.
    #[must_use]
    pub fn stalled_queue(&self) -> Option<&'static str> {
        self.inner.stalled_queue()
    }

    /// Whether any node answers: one that is away takes only its own tenants along.
    ///
    /// # Errors
    /// When none does.
    pub async fn ready(&self) -> Result<(), StoreError> {
        Ok(self.inner.cluster.ready().await?)
    }

    /// Takes no more work, finishes what was taken, and closes the pools.
    pub async fn close(&self) {
        self.inner.writers.drain().await;
        self.inner.changes.drain().await;
        self.inner.readers.drain().await;
        self.inner.cluster.close();
    }

    /// A connection of the tenant's node for one request, when its turn comes.
    async fn lend(&self, tenant: TenantId) -> Result<Lent, StoreError> {
        let owner = self.inner.cluster.owner(tenant);
        Ok(owner.lend(Use::Request, tenant).await?)
    }

    /// The same of the coordinator's, for what is not in the tenant's shard.
    async fn lend_coordinator(&self, tenant: TenantId) -> Result<Lent, StoreError> {
        let coordinator = self.inner.cluster.coordinator();
        Ok(coordinator.lend(Use::Request, tenant).await?)
    }

    /// Tells where the queues stand, and of one that does not move, for as long as the store lives.
    fn watch_queues(&self) {
        let inner = Arc::downgrade(&self.inner);
        let watch = move || {
            let inner = inner.clone();
            async move {
                let mut stalled = None;
                loop {
                    tokio::time::sleep(QUEUES_TOLD_EVERY).await;
                    let Some(inner) = inner.upgrade() else { return };
                    inner.tell_standings();
                    let now = inner.stalled_queue();
                    if now != stalled {
                        stalled = now;
                        match now {
                            Some(queue) => tracing::error!(queue, "a queue does not move"),
                            None => tracing::info!("all queues move again"),
                        }
                    }
                }
            }
        };
        tokio::spawn(supervised("queue watch", watch));
    }
}

impl Inner {
    /// By kind and node; queues that were never used are left out, since another store of the
    /// process may use them.
    fn standings(&self) -> impl Iterator<Item = (&'static str, NodeAddr, Standing)> {
        let of_kinds = [
            (NewInvoice::KIND, self.writers.standings()),
            (NewChange::KIND, self.changes.standings()),
            (PointRead::KIND, self.readers.standings()),
        ];
        let of_kind = |(kind, nodes): (_, Vec<_>)| {
            let all = nodes.into_iter();
            all.map(move |(node, standing)| (kind, node, standing))
        };
        of_kinds.into_iter().flat_map(of_kind)
    }

    fn stalled_queue(&self) -> Option<&'static str> {
        let most = self.config.queue_stall;
        self.standings()
            .find(|(.., standing)| standing.stalled >= most)
            .map(|(kind, ..)| kind)
    }

    fn tell_standings(&self) {
        for (kind, node, standing) in self.standings() {
            let node = watch::name(&node);
            let waiting = u32::try_from(standing.waiting).unwrap_or(u32::MAX);
            metrics::gauge!("sheaf_queue_waiting", "queue" => kind, "node" => node.clone())
                .set(waiting);
            metrics::gauge!("sheaf_queue_oldest_seconds", "queue" => kind, "node" => node.clone())
                .set(standing.oldest.as_secs_f64());
            metrics::gauge!("sheaf_queue_running_seconds", "queue" => kind, "node" => node)
                .set(standing.running.as_secs_f64());
        }
    }
}

/// Counters that are there from the start: what first appears as 1 has never risen, to whoever
/// watches.
fn count_from_zero() {
    use sheaf_cluster::batch::Work;
    for queue in [NewInvoice::KIND, NewChange::KIND, PointRead::KIND] {
        metrics::counter!("sheaf_flush_retry_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_own_lanes_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_panics_total", "task" => queue).increment(0);
    }
    metrics::counter!("sheaf_flush_fallback_total").increment(0);
}
