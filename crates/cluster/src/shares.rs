//! Shares of what is scarce: connections, threads, places, bytes on a disk. So much for each
//! tenant, and so much in all.
//!
//! A tenant that takes its whole share leaves something for others, always, and is refused or kept
//! waiting alone. Those who wait are served tenant by tenant in turn, so that a hundred requests of
//! one do not go before another's only one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sheaf_model::TenantId;
use tokio::sync::oneshot;

/// Requests of one tenant that may wait for one kind of thing.
const WAITING: usize = 256;

/// Why there is nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The tenant has as much as it may.
    #[error("the tenant has taken its share")]
    Tenant,
    /// All tenants together have.
    #[error("everything is taken")]
    All,
}

/// One kind of thing that is shared.
#[derive(Debug)]
pub struct Shares {
    /// As metrics call it.
    kind: &'static str,
    per_tenant: u64,
    total: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: HashMap<TenantId, u64>,
    used: u64,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Share>>>,
    /// Tenants with someone waiting, in the order of their turns.
    turns: VecDeque<TenantId>,
}

/// What a tenant has taken. Given back when it is dropped: when the work has really ended.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    tenant: TenantId,
    amount: u64,
}

impl Shares {
    /// So much in all, and for one tenant at most `per_tenant` of it. Of two or more, one is always
    /// left for others.
    #[must_use]
    pub fn new(kind: &'static str, per_tenant: u64, total: u64) -> Arc<Self> {
        let total = total.max(1);
        for who in ["tenant", "all"] {
            metrics::counter!("sheaf_share_refused_total", "kind" => kind, "full" => who)
                .increment(0);
        }
        Arc::new(Self {
            kind,
            per_tenant: per_tenant.min(total - 1).max(1),
            total,
            state: Mutex::default(),
        })
    }

    /// What one tenant may have at most.
    #[must_use]
    pub fn per_tenant(&self) -> u64 {
        self.per_tenant
    }

    /// Takes one, if there is one now.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(self: &Arc<Self>, tenant: TenantId) -> Result<Share, Full> {
        self.take_amount(tenant, 1)
    }

    /// Takes so much, which may be nothing to begin with: see [`Share::grow`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn take_amount(self: &Arc<Self>, tenant: TenantId, amount: u64) -> Result<Share, Full> {
        self.state()
            .add(self, tenant, amount)
            .map_err(|full| self.refused(full))?;
        Ok(self.share(tenant, amount))
    }

    /// Takes one when the tenant's turn comes, for as long as `patience` lasts.
    ///
    /// # Errors
    /// [`Full`]: what it waited for to the end.
    pub async fn wait(
        self: &Arc<Self>,
        tenant: TenantId,
        patience: Duration,
    ) -> Result<Share, Full> {
        let turn = {
            let mut state = self.state();
            // Those who wait although there is something left wait for their own share.
            let first = state
                .waiting
                .get(&tenant)
                .is_none_or(|queue| queue.iter().all(oneshot::Sender::is_closed));
            if first && state.add(self, tenant, 1).is_ok() {
                return Ok(self.share(tenant, 1));
            }
            state
                .queue(tenant)
                .ok_or(Full::Tenant)
                .map_err(|full| self.refused(full))?
        };
        // A turn that comes too late is given on by being dropped.
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(self.refused(self.state().lacks(self, tenant))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(self: &Arc<Self>, tenant: TenantId, amount: u64) -> Share {
        Share {
            shares: Arc::clone(self),
            tenant,
            amount,
        }
    }

    fn refused(&self, full: Full) -> Full {
        let who = match full {
            Full::Tenant => "tenant",
            Full::All => "all",
        };
        metrics::counter!("sheaf_share_refused_total", "kind" => self.kind, "full" => who)
            .increment(1);
        full
    }
}

impl State {
    fn of(&self, tenant: TenantId) -> u64 {
        self.taken.get(&tenant).copied().unwrap_or(0)
    }

    fn add(&mut self, shares: &Shares, tenant: TenantId, amount: u64) -> Result<(), Full> {
        if self.of(tenant).saturating_add(amount) > shares.per_tenant {
            return Err(Full::Tenant);
        }
        if self.used.saturating_add(amount) > shares.total {
            return Err(Full::All);
        }
        self.used += amount;
        if amount > 0 {
            *self.taken.entry(tenant).or_default() += amount;
        }
        Ok(())
    }

    fn remove(&mut self, tenant: TenantId, amount: u64) {
        self.used -= amount;
        if let Some(taken) = self.taken.get_mut(&tenant) {
            *taken -= amount;
            if *taken == 0 {
                self.taken.remove(&tenant);
            }
        }
    }

    /// A place in the tenant's queue; none where it is full.
    fn queue(&mut self, tenant: TenantId) -> Option<oneshot::Receiver<Share>> {
        let queue = self.waiting.entry(tenant).or_default();
        if queue.is_empty() {
            self.turns.push_back(tenant);
        } else if queue.len() >= WAITING {
            queue.retain(|waits| !waits.is_closed());
        }
        if queue.len() >= WAITING {
            return None;
        }
        let (turn, waits) = oneshot::channel();
        queue.push_back(turn);
        Some(waits)
    }

    /// What it is that a tenant lacks.
    fn lacks(&self, shares: &Shares, tenant: TenantId) -> Full {
        if self.of(tenant) >= shares.per_tenant {
            Full::Tenant
        } else {
            Full::All
        }
    }

    /// Gives what is left to those who wait, the tenants in turn.
    fn hand_out(&mut self, shares: &Arc<Shares>) -> Vec<(oneshot::Sender<Share>, Share)> {
        let (mut given, mut full) = (Vec::new(), Vec::new());
        while self.used < shares.total
            && let Some(tenant) = self.turns.pop_front()
        {
            let Some(queue) = self.waiting.get_mut(&tenant) else {
                continue;
            };
            while queue.front().is_some_and(oneshot::Sender::is_closed) {
                queue.pop_front();
            }
            let Some(turn) = queue.pop_front() else {
                self.waiting.remove(&tenant);
                continue;
            };
            let left = !queue.is_empty();
            if self.add(shares, tenant, 1).is_err() {
                // It waits for itself, and does not lose its turn.
                if let Some(queue) = self.waiting.get_mut(&tenant) {
                    queue.push_front(turn);
                }
                full.push(tenant);
                continue;
            }
            given.push((turn, shares.share(tenant, 1)));
            if left {
                self.turns.push_back(tenant);
            } else {
                self.waiting.remove(&tenant);
            }
        }
        for tenant in full.into_iter().rev() {
            self.turns.push_front(tenant);
        }
        given
    }
}

impl Share {
    /// Takes so much more.
    ///
    /// # Errors
    /// [`Full`]; what was taken before stays taken.
    pub fn grow(&mut self, by: u64) -> Result<(), Full> {
        let added = self.shares.state().add(&self.shares, self.tenant, by);
        added.map_err(|full| self.shares.refused(full))?;
        self.amount += by;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let given = {
            let mut state = self.shares.state();
            state.remove(self.tenant, self.amount);
            state.hand_out(&self.shares)
        };
        for (turn, share) in given {
            // Whoever has gone meanwhile gives its share back.
            drop(turn.send(share));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::future::{FutureExt as _, join_all};
    use uuid::Uuid;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    fn tenants<const N: usize>() -> [TenantId; N] {
        std::array::from_fn(|n| TenantId(Uuid::from_u128(n as u128 + 1)))
    }

    fn is_empty(shares: &Shares) -> bool {
        let state = shares.state();
        state.taken.is_empty()
            && state.used == 0
            && state.waiting.is_empty()
            && state.turns.is_empty()
    }

    #[test]
    fn shares_are_bounded_by_tenant_and_in_all_and_come_back() {
        let [one, two, three] = tenants();
        let shares = Shares::new("test", 2, 3);
        let held = (shares.take(one).unwrap(), shares.take(one).unwrap());
        assert_eq!(shares.take(one).unwrap_err(), Full::Tenant);
        let other = shares.take(two).unwrap();
        assert_eq!(shares.take(three).unwrap_err(), Full::All);
        drop(held.0);
        assert!(shares.take(three).is_ok());
        assert!(shares.take(one).is_ok());
        drop((held.1, other));
        assert!(is_empty(&shares));
    }

    #[test]
    fn one_tenant_never_takes_everything() {
        for total in 2..6 {
            let [one, two] = tenants();
            let shares = Shares::new("test", 100, total);
            let held: Vec<Share> = std::iter::from_fn(|| shares.take(one).ok()).collect();
            assert_eq!(held.len() as u64, total - 1);
            assert!(shares.take(two).is_ok());
        }
    }

    #[test]
    fn amounts_grow_within_the_bounds() {
        let [one, two] = tenants();
        let shares = Shares::new("test", 70, 100);
        let mut bytes = shares.take_amount(one, 0).unwrap();
        bytes.grow(60).unwrap();
        assert_eq!(bytes.grow(11).unwrap_err(), Full::Tenant);
        bytes.grow(10).unwrap();
        assert_eq!(shares.take(one).unwrap_err(), Full::Tenant);
        let mut others = shares.take_amount(two, 20).unwrap();
        assert_eq!(others.grow(11).unwrap_err(), Full::All);
        drop(bytes);
        others.grow(11).unwrap();
        drop(others);
        assert!(is_empty(&shares));
    }

    #[tokio::test]
    async fn tenants_that_wait_take_turns() {
        let [busy, quiet] = tenants();
        let shares = Shares::new("test", 1, 2);
        let first = shares.take(busy).unwrap();
        let order = Mutex::new(Vec::new());
        let serve = async |tenant: TenantId| {
            let share = shares.wait(tenant, LONG).await.unwrap();
            order.lock().unwrap().push(tenant);
            // Others run in between.
            tokio::task::yield_now().await;
            drop(share);
        };
        let many = join_all((0..5).map(|_| serve(busy)));
        let few = async {
            tokio::task::yield_now().await;
            join_all((0..3).map(|_| serve(quiet))).await;
        };
        let release = async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            drop(first);
        };
        tokio::join!(many, few, release);
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 8);
        let last_quiet = order.iter().rposition(|tenant| *tenant == quiet).unwrap();
        let before = order[..last_quiet].iter().filter(|t| **t == busy).count();
        assert!(before <= 3, "{order:?}");
        assert!(is_empty(&shares));
    }

    #[tokio::test]
    async fn patience_ends_with_what_was_lacking() {
        let [one, two, three] = tenants();
        let shares = Shares::new("test", 1, 2);
        let held = (shares.take(one).unwrap(), shares.take(two).unwrap());
        assert_eq!(shares.wait(one, SHORT).await.unwrap_err(), Full::Tenant);
        assert_eq!(shares.wait(three, SHORT).await.unwrap_err(), Full::All);
        // Whoever gave up does not keep what comes back.
        drop(held);
        assert!(shares.wait(three, LONG).await.is_ok());
        assert!(is_empty(&shares));
    }

    #[tokio::test]
    async fn a_tenants_queue_is_bounded() {
        let [one, two] = tenants();
        let shares = Shares::new("test", 1, 2);
        let held = shares.take(one).unwrap();
        let wait = || shares.wait(one, LONG);
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(wait())).collect();
        for wait in &mut waiting {
            assert!(wait.now_or_never().is_none());
        }
        assert_eq!(wait().await.unwrap_err(), Full::Tenant);
        assert!(shares.wait(two, LONG).await.is_ok());
        drop(waiting);
        let mut one_more = Box::pin(wait());
        assert!((&mut one_more).now_or_never().is_none());
        drop(held);
        assert!(one_more.await.is_ok());
        assert!(is_empty(&shares));
    }
}
