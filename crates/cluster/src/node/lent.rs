//! Connections of a node that are lent beside the queues.
//!
//! Creates, changes and point reads come in batches, some at a time a node, and take what they need
//! from the pool. All else is lent: to reports and lists, to whatever one request does by itself,
//! to uploads and to long snapshots. What is lent at any moment leaves some connections to the
//! queues, and of each kind a tenant has its share: a thousand reports of one tenant wait for one
//! another, and keep neither creates nor other tenants' reports waiting.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use sheaf_model::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;
use crate::shares::{Full, Share, Shares};

/// What a connection is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// One page, one report, one record that is read or changed. Holds nothing else meanwhile.
    Request,
    /// A snapshot or an upload's transaction, which may take minutes, and in which other
    /// connections may be asked for.
    Long,
    /// A part of an upload's chunk.
    Upload,
}

/// How many connections of one node may be lent.
pub struct Lending {
    /// All kinds together.
    lent: Arc<Semaphore>,
    /// Long uses and parts of uploads together: requests have the rest of what is lent.
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

/// How many times longer than a request a part of an upload waits, and a long use: its client has
/// sent the upload already, or has read half of the export whose next stretch needs a snapshot, and
/// nothing waits for it but the rest.
const PATIENCE_OF_STREAMS: u32 = 6;

/// Leave to use a connection. Given back when it is dropped.
pub struct Leave {
    _share: Option<Share>,
    _permits: Vec<OwnedSemaphorePermit>,
}

/// A connection that is lent.
pub struct Lent {
    // In this order: the connection is back before somebody else may have one.
    conn: Object,
    leave: Leave,
}

impl Lending {
    /// Of a pool of `connections`: a quarter, and two at least, stays with the queues. Of the rest,
    /// requests have a half, of which a tenant takes a third: two that take all they may leave some
    /// to everybody else's, from eight connections on. Long uses are less than the other half, so
    /// that something of it is always about to come back.
    pub fn new(connections: usize, patience: Duration) -> Self {
        let lent = connections.saturating_sub((connections / 4).max(2)).max(1);
        let background = (lent / 2).max(1);
        let requests = lent.saturating_sub(background).max(1);
        let long = (connections / 4).max(2).min(background - 1).max(1);
        let shares = |kind, per_tenant: usize, total: usize| {
            let amount = |of| u64::try_from(of).unwrap_or(u64::MAX);
            Shares::new(kind, amount(per_tenant), amount(total))
        };
        Self {
            lent: Arc::new(Semaphore::new(lent)),
            background: Arc::new(Semaphore::new(background)),
            requests: shares("requests", requests / 3, requests),
            long: shares("long", long.div_ceil(2), long),
            // An upload writes four parts at once on a node.
            uploads: shares("upload_parts", 4, background),
            lookups: Arc::new(Semaphore::new((connections / 4).max(2))),
            patience,
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many wait for leave.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for leave to use one more connection.
    pub async fn ask(&self, purpose: Use, tenant: TenantId) -> Result<Leave, Error> {
        let (shares, patience) = match purpose {
            Use::Request => (&self.requests, self.patience),
            Use::Long => (&self.long, self.patience * PATIENCE_OF_STREAMS),
            Use::Upload => (&self.uploads, self.patience * PATIENCE_OF_STREAMS),
        };
        let _waits = Waits::begin(&self.waiting);
        let share = shares.wait(tenant, patience).await;
        let share = share.map_err(Error::Busy)?;
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
    pub async fn ask_lookup(&self) -> Result<Leave, Error> {
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
    ) -> Result<OwnedSemaphorePermit, Error> {
        let permit = tokio::time::timeout(patience, Arc::clone(of).acquire_owned());
        match permit.await {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            _ => Err(Error::Busy(Full::All)),
        }
    }
}

impl Lent {
    /// Lends the connection for as long as the leave holds.
    #[must_use]
    pub fn new(conn: Object, leave: Leave) -> Self {
        Self { conn, leave }
    }

    /// The connection, and the leave, which is to be dropped after it.
    pub fn into_parts(self) -> (Object, Leave) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::unwrap_used)]
    use std::time::Instant;

    use uuid::Uuid;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    /// Takes all that long uses may have.
    async fn all_long(lending: &Lending) -> Vec<Leave> {
        let mut taken = Vec::new();
        for n in 0.. {
            let more = lending.ask(Use::Long, tenant(n));
            match tokio::time::timeout(PATIENCE / 10, more).await {
                Ok(leave) => taken.push(leave.unwrap()),
                Err(_) => return taken,
            }
        }
        taken
    }

    /// Takes all that the tenant gets of anything.
    async fn all_of(lending: &Lending, tenant: TenantId) -> Vec<Leave> {
        let mut taken = Vec::new();
        for purpose in [Use::Upload, Use::Long, Use::Request].repeat(32) {
            let more = lending.ask(purpose, tenant);
            if let Ok(leave) = tokio::time::timeout(PATIENCE / 100, more).await {
                taken.push(leave.unwrap());
            }
        }
        taken
    }

    #[tokio::test]
    async fn two_tenants_that_take_all_they_get_leave_connections_to_requests_of_others() {
        for connections in [8, 12, 16, 32] {
            let lending = Lending::new(connections, 10 * PATIENCE);
            let held = [
                all_of(&lending, tenant(1)).await,
                all_of(&lending, tenant(2)).await,
            ];
            // The second may find that only requests have a place left.
            assert!(held[0].len() > 1 && !held[1].is_empty());
            for n in 3..12 {
                let asked = tokio::time::timeout(PATIENCE, lending.ask(Use::Request, tenant(n)));
                let leave = asked.await.map_err(|_| connections);
                drop(leave.expect("it waits for nobody").unwrap());
            }
        }
    }

    #[tokio::test]
    async fn a_stretch_of_an_export_waits_longer_than_a_request_and_not_for_ever() {
        let lending = Lending::new(8, PATIENCE);
        let mut taken = all_long(&lending).await;
        assert!(!taken.is_empty());
        let began = Instant::now();
        let waits = lending.ask(Use::Long, tenant(100));
        let comes_back = async {
            // As long as a request would have waited, and as long again.
            tokio::time::sleep(PATIENCE * 2).await;
            taken.pop();
        };
        let (leave, ()) = tokio::join!(waits, comes_back);
        drop(leave.unwrap());
        assert!(began.elapsed() >= PATIENCE * 2);
        drop(taken);
        let taken = all_long(&lending).await;
        let began = Instant::now();
        let never = lending.ask(Use::Long, tenant(100)).await;
        assert!(matches!(never, Err(Error::Busy(_))));
        assert!(began.elapsed() >= PATIENCE * PATIENCE_OF_STREAMS);
        drop(taken);
    }
}
