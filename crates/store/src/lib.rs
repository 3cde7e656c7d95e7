//! The hot tier: routing, transactions, the group-commit COPY writer, queries. The only crate that
//! speaks SQL.
//!
//! Every function names the tenant whose rows it touches; those that do not are the platform's own
//! (tenants, keys, partitions, placements).

mod cluster;
mod cold;
mod event;
mod invoice;
pub(crate) mod schema;
mod setting;

#[doc(hidden)]
pub mod bench;
mod config;
mod customer;
mod error;
mod expected;
mod idempotency;
mod job_run;
mod report;
mod sql;
mod tenant;
mod types;

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sheaf_model::TenantId;
use uuid::Uuid;

pub use crate::cluster::admin::inspect::{
    Asked, DatabaseFacts, Inspector, Member, NodeFacts, Rights, Setting,
};
pub use crate::cluster::admin::{
    AddedNode, AdminError, Canceller, ClusterAdmin, ClusterStatus, Load, Move, NodeAddress,
    NodeStatus, Plan, PlannedMove, Rebalance, ShardGroup, Skew, TenantLoad, TenantPlace,
};
pub use crate::cluster::shares::{Full, Share, Shares};
pub use crate::cluster::spans::SPANS;
pub use crate::cluster::supervise::{caught, panic_text, supervised};
pub use crate::cold::catalog::Retired;
pub use crate::cold::handover::{SnapshotReader, TieringLock};
pub use crate::cold::replace::Replaced;
pub use crate::cold::snapshot::TenantSnapshot;
pub use crate::customer::scrub::{ERASED_NAME, is_erased, scrub, scrub_events};
pub use crate::customer::{
    Cause, CustomerError, CustomerFilter, CustomerRecord, ErasureRecord, Held, MAX_MERGED, Merged,
    Pass, Pending,
};
pub use crate::event::feed::{EVENT_PAGE_BYTES, FeedEvent, FeedPosition};
pub use crate::event::write::NewEvent;
pub use crate::invoice::change::{Answer, ChangeError, Changed, Command, NewChange};
pub use crate::invoice::list::MAX_PAGE_LINES;
pub use crate::invoice::number::{
    DuplicateNumber, EnteredNumbers, NumberRanges, NumberedDocument, number_parts,
};
pub use crate::invoice::upload::AtomicUpload;
pub use crate::job_run::{Job, JobRun};
pub use crate::report::{
    Aging, AgingCursor, Balance, KindSum, StatusTotal, Sum, Summary, SummaryFilter,
};
pub use crate::schema::migrate::{Migrated, known_version, migrate, migrate_from, migrate_with};
pub use crate::schema::partition::FIRST_OWN_YEAR;
pub use crate::setting::archive_column::{
    MAX_METADATA_COLUMNS, MetadataColumns, NewMetadataColumns, PutMetadataColumns,
};
pub use crate::setting::number_series::{
    INVOICE as INVOICE_SERIES, NOTE as NOTE_SERIES, NumberSeries, YEAR as SERIES_YEAR,
};
pub use crate::setting::profile::{NewProfile, PutProfile, StoredProfile};
pub use crate::setting::retention::{NewRetention, PutRetention, Retention};
pub use crate::tenant::PLATFORM;
pub use crate::tenant::api_key::MAX_API_KEYS;
pub use config::{Route, StoreConfig};
pub use error::{CreateError, StoreError};
pub use expected::{Expected, Versions};
pub use idempotency::{IdemConflict, StoredKey, UploadAnswer, UploadKey};
pub use types::*;

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
    cluster: crate::cluster::routing::Cluster,
    writers: crate::cluster::fair_queue::Queues<crate::cluster::fair_queue::Job<NewInvoice>>,
    changes: crate::cluster::fair_queue::Queues<crate::cluster::fair_queue::Job<NewChange>>,
    readers: crate::cluster::fair_queue::Queues<
        crate::cluster::fair_queue::Job<crate::invoice::decode::Key>,
    >,
    /// Years whose partitions are known to exist.
    years: crate::schema::years::Years,
    /// Customers that new invoices may name, and when they were seen.
    customers_by_key: Cache<(TenantId, Box<str>), (Uuid, Instant)>,
    customers_by_id:
        Cache<(TenantId, Uuid), (Arc<crate::invoice::create::lookup::CustomerRow>, Instant)>,
    /// Published files by tenant and year, as last seen; checked again inside every transaction
    /// that relies on it.
    archived: Cache<(TenantId, i16), Arc<Vec<ArchiveFile>>>,
    cold: OnceLock<Arc<dyn ColdKeys>>,
    summaries: Cache<(TenantId, SummaryFilter), crate::report::CachedSummary>,
    /// Turns of the reports that read all of a tenant.
    reports: Arc<Shares>,
}

impl Store {
    /// Connects, checks the schema's version, and reads where the shards are.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`], [`StoreError::SchemaTooOld`], or an unreachable database.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let client = crate::schema::migrate::connect(&config.database_url).await?;
        crate::schema::migrate::check_version(&client).await?;
        crate::schema::migrate::check_distributed(&client).await?;
        crate::schema::role::check(&client).await?;
        drop(client);
        let cluster = crate::cluster::routing::Cluster::connect(config.clone()).await?;
        let store = Self {
            inner: Arc::new(Inner {
                writers: crate::cluster::fair_queue::Queues::new(limits(
                    config.write_queue,
                    config.flushes_per_node,
                    &config,
                )),
                changes: crate::cluster::fair_queue::Queues::new(limits(
                    config.write_queue,
                    config.flushes_per_node,
                    &config,
                )),
                readers: crate::cluster::fair_queue::Queues::new(limits(
                    config.read_queue,
                    config.reads_per_node,
                    &config,
                )),
                cluster,
                years: crate::schema::years::Years::default(),
                customers_by_key: Cache::new(CACHED_CUSTOMERS),
                customers_by_id: Cache::new(CACHED_CUSTOMERS),
                archived: Cache::new(CACHED_YEARS),
                cold: OnceLock::new(),
                summaries: Cache::new(crate::report::CACHED),
                reports: Shares::new("reports", 1, crate::report::CONCURRENT),
                config,
            }),
        };
        count_from_zero();
        store.watch_placements();
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
        self.inner.cluster.ready().await
    }

    /// Takes no more work, finishes what was taken, and closes the pools.
    pub async fn close(&self) {
        self.inner.writers.drain().await;
        self.inner.changes.drain().await;
        self.inner.readers.drain().await;
        self.inner.cluster.close();
    }

    /// Reads the placements again on a timer, for as long as the store lives.
    fn watch_placements(&self) {
        if !self.is_citus() {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        let every = self.inner.config.placement_refresh;
        let watch = move || {
            let inner = inner.clone();
            async move {
                loop {
                    tokio::time::sleep(every).await;
                    let Some(inner) = inner.upgrade() else { return };
                    if let Err(error) = inner.cluster.refresh_placement().await {
                        tracing::warn!(%error, "placements could not be read again");
                    }
                }
            }
        };
        tokio::spawn(supervised("placements", watch));
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
    fn standings(
        &self,
    ) -> impl Iterator<
        Item = (
            &'static str,
            crate::cluster::node::NodeAddr,
            crate::cluster::fair_queue::Standing,
        ),
    > {
        use crate::cluster::batch::Work;
        let of_kinds = [
            (NewInvoice::KIND, self.writers.standings()),
            (NewChange::KIND, self.changes.standings()),
            (crate::invoice::decode::Key::KIND, self.readers.standings()),
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
            let node = crate::cluster::pools::name(&node);
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
    use crate::cluster::batch::Work;
    for queue in [
        NewInvoice::KIND,
        NewChange::KIND,
        crate::invoice::decode::Key::KIND,
    ] {
        metrics::counter!("sheaf_flush_retry_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_own_lanes_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_panics_total", "task" => queue).increment(0);
    }
    metrics::counter!("sheaf_flush_fallback_total").increment(0);
}

/// A tenant may take a quarter of a node's queue; who waits for locks, an eighth of its
/// connections.
fn limits(node: usize, batches: usize, config: &StoreConfig) -> crate::cluster::fair_queue::Limits {
    crate::cluster::fair_queue::Limits {
        node,
        tenant: node.div_ceil(4),
        batches,
        apart: config.max_connections_per_node.div_ceil(8),
    }
}
