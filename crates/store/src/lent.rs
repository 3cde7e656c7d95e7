//! Connections of a node that are lent beside the queues.
//!
//! Creates, changes and point reads come in batches, some at a time a node, and take what they need from the pool. All
//! else is lent: to reports and lists, to whatever one request does by itself, to uploads and to long snapshots. What is lent
//! at any moment leaves some connections to the queues, and of each kind a tenant has its share: a thousand reports
//! of one tenant wait for one another, and keep neither creates nor other tenants' reports waiting.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use sheaf_model::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shares::{Full, Share, Shares};
use crate::{Store, StoreError};

/// What a connection is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// One page, one report, one record that is read or changed. Holds nothing else meanwhile.
    Request,
    /// A snapshot or an upload's transaction, which may take minutes, and in which other connections may be asked for.
    Long,
    /// A part of an upload's chunk.
    Upload,
}

/// How many connections of one node may be lent.
pub(crate) struct Lending {
    /// All kinds together.
    lent: Arc<Semaphore>,
    /// Long uses and parts of uploads together: requests find some of what is lent free of these.
    background: Arc<Semaphore>,
    requests: Arc<Shares>,
    long: Arc<Shares>,
    uploads: Arc<Shares>,
    /// Of credentials and tenants, which are asked before there is a tenant to count for.
    lookups: Arc<Semaphore>,
    patience: Duration,
    /// Who asks for leave at this moment.
    waiting: AtomicUsize,
}

/// One who waits, for as long as this lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many times longer than a request a part of an upload waits, and a long use: its client has sent the upload already,
/// or has read half of the export whose next stretch needs a snapshot, and nothing waits for it but the rest.
const PATIENCE_OF_STREAMS: u32 = 6;

/// Leave to use a connection. Given back when it is dropped.
pub(crate) struct Leave {
    _share: Option<Share>,
    _permits: Vec<OwnedSemaphorePermit>,
}

/// A connection that is lent.
pub(crate) struct Lent {
    // In this order: the connection is back before somebody else may have one.
    conn: Object,
    leave: Leave,
}

impl Lending {
    /// Of a pool of `connections`: a quarter, and two at least, stays with the queues. The kinds' bounds together are more than
    /// all that is lent, so that none lies idle; long uses alone are less, so that something is always about to come back.
    pub(crate) fn new(connections: usize, patience: Duration) -> Self {
        let lent = connections.saturating_sub((connections / 4).max(2)).max(1);
        let long = (connections / 4).max(3).min(lent - 1).max(1);
        let shares = |kind, total: usize| {
            let total = u64::try_from(total).unwrap_or(u64::MAX);
            Shares::new(kind, total.div_ceil(2), total)
        };
        let uploads = u64::try_from((connections / 4).max(5)).unwrap_or(u64::MAX);
        Self {
            lent: Arc::new(Semaphore::new(lent)),
            background: Arc::new(Semaphore::new(lent.saturating_sub(2).max(1))),
            requests: shares("requests", (connections / 3).max(3)),
            long: shares("long", long),
            // An upload writes four parts at once on a node.
            uploads: Shares::new("upload_parts", 4, uploads),
            lookups: Arc::new(Semaphore::new((connections / 4).max(2))),
            patience,
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many wait for leave.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for leave to use one more connection.
    pub(crate) async fn ask(&self, purpose: Use, tenant: TenantId) -> Result<Leave, StoreError> {
        let (shares, patience) = match purpose {
            Use::Request => (&self.requests, self.patience),
            Use::Long => (&self.long, self.patience * PATIENCE_OF_STREAMS),
            Use::Upload => (&self.uploads, self.patience * PATIENCE_OF_STREAMS),
        };
        let _waits = Waits::begin(&self.waiting);
        let share = shares.wait(tenant, patience).await;
        let share = share.map_err(StoreError::Busy)?;
        let mut permits = Vec::with_capacity(2);
        if purpose != Use::Request {
            permits.push(self.permit(&self.background, patience).await?);
        }
        permits.push(self.permit(&self.lent, patience).await?);
        Ok(Leave {
            _share: Some(share),
            _permits: permits,
        })
    }

    /// The same for a look-up that no tenant asks for.
    pub(crate) async fn ask_lookup(&self) -> Result<Leave, StoreError> {
        let _waits = Waits::begin(&self.waiting);
        let lookup = self.permit(&self.lookups, self.patience).await?;
        Ok(Leave {
            _share: None,
            _permits: vec![lookup, self.permit(&self.lent, self.patience).await?],
        })
    }

    async fn permit(
        &self,
        of: &Arc<Semaphore>,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = tokio::time::timeout(patience, Arc::clone(of).acquire_owned());
        match permit.await {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            _ => Err(StoreError::Busy(Full::All)),
        }
    }
}

impl Store {
    /// A connection of the tenant's node for one request, when its turn comes.
    pub(crate) async fn lend(&self, tenant: TenantId) -> Result<Lent, StoreError> {
        let owner = self.inner.cluster.owner(tenant);
        owner.lend(Use::Request, tenant).await
    }

    /// The same of the coordinator's, for what is not in the tenant's shard.
    pub(crate) async fn lend_coordinator(&self, tenant: TenantId) -> Result<Lent, StoreError> {
        let coordinator = self.inner.cluster.coordinator();
        coordinator.lend(Use::Request, tenant).await
    }
}

impl Lent {
    pub(crate) fn new(conn: Object, leave: Leave) -> Self {
        Self { conn, leave }
    }

    pub(crate) fn into_parts(self) -> (Object, Leave) {
        (self.conn, self.leave)
    }
}

impl Deref for Lent {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.conn
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.conn
    }
}
