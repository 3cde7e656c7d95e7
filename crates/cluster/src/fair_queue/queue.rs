//! The queue of one node: its jobs by tenant, and whose turn it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sheaf_model::TenantId;
use tokio::sync::{Notify, Semaphore};

use super::{Limits, Refused, Standing, closing};
use crate::error::Error;

/// The jobs that wait for one node.
pub(super) struct Queue<J> {
    pub(super) state: Mutex<State<J>>,
    pub(super) ready: Notify,
    pub(super) limits: Limits,
    /// Those of lanes of single tenants.
    pub(super) connections: Arc<Semaphore>,
}

pub(super) struct State<J> {
    /// Each with the time when it came.
    pub(super) waiting: HashMap<TenantId, VecDeque<(Instant, J)>>,
    /// Tenants with waiting jobs, in the order of their turns, but those with lanes of their own.
    pub(super) turns: VecDeque<TenantId>,
    /// Tenants with lanes of their own, which are told here of new jobs.
    pub(super) apart: HashMap<TenantId, Arc<Notify>>,
    pub(super) jobs: usize,
    pub(super) closed: bool,
    /// When the batches that run were taken.
    pub(super) running: BTreeMap<u64, Instant>,
    pub(super) taken: u64,
    /// From the lanes that all share.
    pub(super) last_taken: Instant,
}

/// A batch that runs, for as long as this lives.
pub(super) struct Running<'a, J> {
    queue: &'a Queue<J>,
    number: u64,
}

impl<J> Drop for Running<'_, J> {
    fn drop(&mut self) {
        self.queue.state().running.remove(&self.number);
    }
}

impl<J> Queue<J> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: HashMap::new(),
                turns: VecDeque::new(),
                apart: HashMap::new(),
                jobs: 0,
                closed: false,
                running: BTreeMap::new(),
                taken: 0,
                last_taken: Instant::now(),
            }),
            ready: Notify::new(),
            limits,
            connections: Arc::new(Semaphore::new(limits.apart)),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, tenant: TenantId, job: J) -> Result<(), Refused<Error>> {
        let mut state = self.state();
        if state.closed {
            return Err(closing().into());
        }
        let waiting = state.waiting.get(&tenant).map_or(0, VecDeque::len);
        if state.jobs >= self.limits.node || waiting >= self.limits.tenant {
            return Err(Refused::Busy);
        }
        let own = state.apart.get(&tenant).cloned();
        if waiting == 0 && own.is_none() {
            state.turns.push_back(tenant);
        }
        let job = (Instant::now(), job);
        state.waiting.entry(tenant).or_default().push_back(job);
        state.jobs += 1;
        drop(state);
        own.as_deref().unwrap_or(&self.ready).notify_one();
        Ok(())
    }

    /// Notes that the batch that was taken runs.
    pub(super) fn begin(&self) -> Running<'_, J> {
        let mut state = self.state();
        state.taken += 1;
        let number = state.taken;
        state.running.insert(number, Instant::now());
        Running {
            queue: self,
            number,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        let came = |waiting: &VecDeque<(Instant, J)>| waiting.front().map(|(came, _)| *came);
        let oldest = state.waiting.values().filter_map(came).min();
        // Whoever has a lane of its own waits for locks, not for a server.
        let shared = state.waiting.iter();
        let shared = shared.filter(|(tenant, _)| !state.apart.contains_key(tenant));
        let oldest_shared = shared.filter_map(|(_, waiting)| came(waiting)).min();
        let age = |at: Option<Instant>| at.map(|at| at.elapsed()).unwrap_or_default();
        Standing {
            waiting: state.jobs,
            oldest: age(oldest),
            running: age(state.running.values().min().copied()),
            stalled: age(oldest_shared.map(|came| came.max(state.last_taken))),
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for own in state.apart.values() {
            own.notify_one();
        }
        drop(state);
        self.ready.notify_waiters();
        // For a server that was about to wait.
        self.ready.notify_one();
    }

    /// Waits for jobs, and takes a batch: as long as `fits` says yes, the tenants in turn. `None`:
    /// closed, and empty.
    pub(super) async fn take(&self, mut fits: impl FnMut(usize, &J) -> bool) -> Option<Vec<J>> {
        loop {
            let waiting = self.ready.notified();
            {
                let mut state = self.state();
                if !state.turns.is_empty() {
                    let batch = state.batch(&mut fits);
                    state.last_taken = Instant::now();
                    let more = !state.turns.is_empty() || state.closed;
                    drop(state);
                    if more {
                        self.ready.notify_one();
                    }
                    return Some(batch);
                }
                if state.closed {
                    drop(state);
                    self.ready.notify_one();
                    return None;
                }
            }
            waiting.await;
        }
    }
}

impl<J> State<J> {
    /// At least one job; then as many as fit.
    fn batch(&mut self, fits: &mut impl FnMut(usize, &J) -> bool) -> Vec<J> {
        let mut batch = Vec::new();
        while let Some(tenant) = self.turns.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&tenant) else {
                continue;
            };
            match waiting.front() {
                Some((_, job)) if batch.is_empty() || fits(batch.len(), job) => {}
                Some(_) => {
                    self.turns.push_front(tenant);
                    break;
                }
                None => continue,
            }
            batch.extend(waiting.pop_front().map(|(_, job)| job));
            self.jobs -= 1;
            if waiting.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITS: Limits = Limits {
        node: 10,
        tenant: 6,
        batches: 1,
        apart: 1,
    };

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn tenants_take_turns() {
        let queue = Queue::new(LIMITS);
        for job in 0..5 {
            assert!(queue.push(tenant(1), (1, job)).is_ok());
        }
        assert!(queue.push(tenant(2), (2, 0)).is_ok());
        assert!(queue.push(tenant(3), (3, 0)).is_ok());
        let four = |taken: usize, _: &(i32, i32)| taken < 4;
        let batch = queue.take(four).await;
        assert_eq!(batch, Some(vec![(1, 0), (2, 0), (3, 0), (1, 1)]));
        // Whoever comes now is served before the rest of the first.
        assert!(queue.push(tenant(4), (4, 0)).is_ok());
        let batch = queue.take(|taken, _| taken < 3).await;
        assert_eq!(batch, Some(vec![(1, 2), (4, 0), (1, 3)]));
    }

    #[tokio::test]
    async fn only_the_flooding_tenant_is_refused() {
        let queue = Queue::new(LIMITS);
        let refused = (0..8)
            .filter(|job| queue.push(tenant(1), *job).is_err())
            .count();
        assert_eq!(refused, 2);
        assert!(queue.push(tenant(2), 0).is_ok());
        let refused = (0..8)
            .filter(|job| queue.push(tenant(3), *job).is_err())
            .count();
        assert_eq!(refused, 5, "the node's queue is bounded as well");
    }

    #[tokio::test]
    async fn what_was_taken_is_served_after_closing() {
        let queue = Queue::new(LIMITS);
        assert!(queue.push(tenant(1), 7).is_ok());
        queue.close();
        assert!(matches!(queue.push(tenant(1), 8), Err(Refused::Failed(_))));
        assert_eq!(queue.take(|_, _| true).await, Some(vec![7]));
        assert_eq!(queue.take(|_, _| true).await, None);
        assert_eq!(queue.take(|_, _| true).await, None);
    }
}
