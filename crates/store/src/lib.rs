//! The hot tier: routing, transactions, the group-commit COPY writer, queries. The only crate that speaks SQL.
//!
//! Every function names the tenant whose rows it touches; those that do not are the platform's own (tenants, keys,
//! partitions, placements).

mod admin;
mod api_keys;
mod audit;
mod batch;
#[doc(hidden)]
pub mod bench;
mod bulk;
mod catalog;
mod change;
mod cluster;
mod cold_keys;
mod config;
mod connect;
mod copy;
mod customers;
mod ddl;
mod encode;
mod error;
mod events;
mod fetch;
mod figures;
mod flush;
mod hash;
mod idempotency;
mod inspect;
mod jobs;
mod kept_plans;
mod lent;
mod list;
mod lookup;
mod metadata_columns;
mod migrate;
mod node;
mod numbers;
mod partition;
mod plan;
mod pools;
mod profiles;
mod queue;
mod reader;
mod recall;
mod replace;
mod reports;
mod retention;
mod role;
mod rows;
mod send;
mod series;
mod session;
mod shard;
mod shares;
mod snapshot;
mod spans;
mod sql;
mod supervise;
mod tenants;
mod tiering;
mod types;
mod wanted;
mod writer;
mod years;

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sheaf_model::TenantId;
use uuid::Uuid;

pub use admin::{
    AddedNode, AdminError, Canceller, ClusterAdmin, ClusterStatus, Load, Move, NodeAddress,
    NodeStatus, Plan, PlannedMove, Rebalance, ShardGroup, Skew, TenantLoad, TenantPlace,
};
pub use api_keys::MAX_API_KEYS;
pub use audit::NewEvent;
pub use bulk::AtomicUpload;
pub use catalog::Retired;
pub use change::{Answer, ChangeError, Changed, Command, NewChange};
pub use config::{Route, StoreConfig};
pub use customers::scrub::{ERASED_NAME, is_erased, scrub, scrub_events};
pub use customers::{
    Cause, CustomerError, CustomerFilter, CustomerRecord, ErasureRecord, Held, MAX_MERGED, Merged,
    Pass, Pending,
};
pub use error::{CreateError, StoreError};
pub use events::{EVENT_PAGE_BYTES, FeedEvent, FeedPosition};
pub use idempotency::{IdemConflict, StoredKey, UploadAnswer, UploadKey};
pub use inspect::{Asked, DatabaseFacts, Inspector, Member, NodeFacts, Rights, Setting};
pub use jobs::{Job, JobRun};
pub use list::MAX_PAGE_LINES;
pub use metadata_columns::{
    MAX_METADATA_COLUMNS, MetadataColumns, NewMetadataColumns, PutMetadataColumns,
};
pub use migrate::{Migrated, known_version, migrate, migrate_from, migrate_with};
pub use numbers::{DuplicateNumber, EnteredNumbers, NumberRanges, NumberedDocument, number_parts};
pub use partition::FIRST_OWN_YEAR;
pub use profiles::{NewProfile, PutProfile, StoredProfile};
pub use replace::Replaced;
pub use reports::{Aging, AgingCursor, Balance, KindSum, StatusTotal, Sum, Summary, SummaryFilter};
pub use retention::{NewRetention, PutRetention, Retention};
pub use series::{
    INVOICE as INVOICE_SERIES, NOTE as NOTE_SERIES, NumberSeries, YEAR as SERIES_YEAR,
};
pub use shares::{Full, Share, Shares};
pub use snapshot::TenantSnapshot;
pub use spans::SPANS;
pub use supervise::{caught, panic_text, supervised};
pub use tenants::PLATFORM;
pub use tiering::{SnapshotReader, TieringLock};
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
    cluster: cluster::Cluster,
    writers: queue::Queues<queue::Job<NewInvoice>>,
    changes: queue::Queues<queue::Job<NewChange>>,
    readers: queue::Queues<queue::Job<rows::Key>>,
    /// Years whose partitions are known to exist.
    years: years::Years,
    /// Customers that new invoices may name, and when they were seen.
    customers_by_key: Cache<(TenantId, Box<str>), (Uuid, Instant)>,
    customers_by_id: Cache<(TenantId, Uuid), (Arc<lookup::CustomerRow>, Instant)>,
    /// Published files by tenant and year, as last seen; checked again inside every transaction that relies on it.
    archived: Cache<(TenantId, i16), Arc<Vec<ArchiveFile>>>,
    cold: OnceLock<Arc<dyn ColdKeys>>,
    summaries: Cache<(TenantId, SummaryFilter), reports::CachedSummary>,
    /// Turns of the reports that read all of a tenant.
    reports: Arc<Shares>,
}

impl Store {
    /// Connects, checks the schema's version, and reads where the shards are.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`], [`StoreError::SchemaTooOld`], or an unreachable database.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let client = migrate::connect(&config.database_url).await?;
        migrate::check_version(&client).await?;
        migrate::check_distributed(&client).await?;
        role::check(&client).await?;
        drop(client);
        let cluster = cluster::Cluster::connect(config.clone()).await?;
        let store = Self {
            inner: Arc::new(Inner {
                writers: queue::Queues::new(limits(
                    config.write_queue,
                    config.flushes_per_node,
                    &config,
                )),
                changes: queue::Queues::new(limits(
                    config.write_queue,
                    config.flushes_per_node,
                    &config,
                )),
                readers: queue::Queues::new(limits(
                    config.read_queue,
                    config.reads_per_node,
                    &config,
                )),
                cluster,
                years: years::Years::default(),
                customers_by_key: Cache::new(CACHED_CUSTOMERS),
                customers_by_id: Cache::new(CACHED_CUSTOMERS),
                archived: Cache::new(CACHED_YEARS),
                cold: OnceLock::new(),
                summaries: Cache::new(reports::CACHED),
                reports: Shares::new("reports", 1, reports::CONCURRENT),
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

    /// The kind of a queue from which nothing has been taken for [`StoreConfig::queue_stall`], while work waits in it.
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
    /// By kind and node; queues that were never used are left out, since another store of the process may use them.
    fn standings(&self) -> impl Iterator<Item = (&'static str, node::NodeAddr, queue::Standing)> {
        use batch::Work;
        let of_kinds = [
            (NewInvoice::KIND, self.writers.standings()),
            (NewChange::KIND, self.changes.standings()),
            (rows::Key::KIND, self.readers.standings()),
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
            let node = pools::name(&node);
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

/// Counters that are there from the start: what first appears as 1 has never risen, to whoever watches.
fn count_from_zero() {
    use batch::Work;
    for queue in [NewInvoice::KIND, NewChange::KIND, rows::Key::KIND] {
        metrics::counter!("sheaf_flush_retry_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_own_lanes_total", "queue" => queue).increment(0);
        metrics::counter!("sheaf_panics_total", "task" => queue).increment(0);
    }
    metrics::counter!("sheaf_flush_fallback_total").increment(0);
}

/// A tenant may take a quarter of a node's queue; who waits for locks, an eighth of its connections.
fn limits(node: usize, batches: usize, config: &StoreConfig) -> queue::Limits {
    queue::Limits {
        node,
        tenant: node.div_ceil(4),
        batches,
        apart: config.max_connections_per_node.div_ceil(8),
    }
}
