//! A fair queue per node: jobs wait by tenant, and a batch takes from the tenants in turn.
//!
//! A batch takes whatever has arrived while the node was busy, one job of each tenant after the other, so that a tenant
//! with a thousand waiting jobs delays another's one job by no more than the batch that is running. Both the queue and
//! each tenant's share of it are bounded; beyond that, only the tenant that floods is refused. (Round robin over flows:
//! Nagle, RFC 970; our jobs are bounded in size, so counting jobs is enough.)

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sheaf_model::TenantId;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use crate::node::NodeAddr;
use crate::{Inner, Store, StoreError};

/// Why a job was not taken.
enum Refused {
    /// The queue, or the tenant's share of it, is full.
    Full,
    /// The store is closing.
    Closed,
}

/// The bounds of a node's queue.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Jobs that wait for one node.
    pub(crate) node: usize,
    /// Jobs of one tenant among them.
    pub(crate) tenant: usize,
    /// Batches of one node at the same time.
    pub(crate) batches: usize,
}

/// A queue for each node, made when first used.
pub(crate) struct Queues<J> {
    nodes: Mutex<Option<HashMap<NodeAddr, Arc<Queue<J>>>>>,
    tasks: TaskTracker,
    limits: Limits,
}

impl<J: Send + 'static> Queues<J> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            nodes: Mutex::new(Some(HashMap::new())),
            tasks: TaskTracker::new(),
            limits,
        }
    }

    /// Puts a job into the node's queue; `serve` is a task that takes batches from it, started with the queue.
    fn submit<F, T>(
        &self,
        node: &NodeAddr,
        tenant: TenantId,
        job: J,
        serve: F,
    ) -> Result<(), Refused>
    where
        F: Fn(Arc<Queue<J>>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let queue = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let nodes = nodes.as_mut().ok_or(Refused::Closed)?;
            match nodes.get(node) {
                Some(queue) => Arc::clone(queue),
                None => {
                    let queue = Arc::new(Queue::new(self.limits));
                    for _ in 0..self.limits.batches.max(1) {
                        self.tasks.spawn(serve(Arc::clone(&queue)));
                    }
                    nodes.insert(node.clone(), Arc::clone(&queue));
                    queue
                }
            }
        };
        queue.push(tenant, job)
    }

    /// Takes no more jobs, and waits until those taken are done.
    pub(crate) async fn drain(&self) {
        let nodes = self
            .nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for queue in nodes.iter().flat_map(HashMap::values) {
            queue.close();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Work that waits, and where its answer goes.
pub(crate) struct Job<W, T, E> {
    pub(crate) work: W,
    pub(crate) reply: Reply<T, E>,
}

/// Takes batches from a node's queue until it is closed.
type Serve<W, T, E, F> = fn(Weak<Inner>, Arc<Queue<Job<W, T, E>>>) -> F;

/// A caller that has gone away does not undo what was done for it.
pub(crate) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

impl Store {
    /// Queues work for the tenant's node, and waits for the answer; `busy` where the queue is full.
    pub(crate) async fn submit<W, T, E, F>(
        &self,
        queues: &Queues<Job<W, T, E>>,
        (tenant, work): (TenantId, W),
        serve: Serve<W, T, E, F>,
        busy: E,
    ) -> Result<T, E>
    where
        W: Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let closing = || StoreError::Unavailable {
            detail: "the store is closing".into(),
        };
        let addr = &self.inner.cluster.shard_of(tenant).node;
        self.inner.cluster.node(addr).check()?;
        let (reply, answer) = oneshot::channel();
        let inner = Arc::downgrade(&self.inner);
        queues
            .submit(addr, tenant, Job { work, reply }, |queue| {
                serve(inner.clone(), queue)
            })
            .map_err(|refused| match refused {
                Refused::Full => busy,
                Refused::Closed => closing().into(),
            })?;
        answer.await.unwrap_or_else(|_| Err(closing().into()))
    }
}

/// Tells all that wait for a batch why it failed.
pub(crate) fn fail<T, E: From<StoreError>>(
    replies: impl IntoIterator<Item = Reply<T, E>>,
    error: StoreError,
) {
    let detail = error.to_string();
    let mut first = Some(error);
    for reply in replies {
        let error = first.take().unwrap_or_else(|| StoreError::Unavailable {
            detail: detail.clone(),
        });
        let _gone = reply.send(Err(error.into()));
    }
}

/// The jobs that wait for one node.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Notify,
    limits: Limits,
}

struct State<J> {
    waiting: HashMap<TenantId, VecDeque<J>>,
    /// Tenants with waiting jobs, in the order of their turns.
    turns: VecDeque<TenantId>,
    jobs: usize,
    closed: bool,
}

impl<J> Queue<J> {
    fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: HashMap::new(),
                turns: VecDeque::new(),
                jobs: 0,
                closed: false,
            }),
            ready: Notify::new(),
            limits,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, tenant: TenantId, job: J) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        let waiting = state.waiting.get(&tenant).map_or(0, VecDeque::len);
        if state.jobs >= self.limits.node || waiting >= self.limits.tenant {
            return Err(Refused::Full);
        }
        if waiting == 0 {
            state.turns.push_back(tenant);
        }
        state.waiting.entry(tenant).or_default().push_back(job);
        state.jobs += 1;
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.state().closed = true;
        self.ready.notify_waiters();
        // For a server that was about to wait.
        self.ready.notify_one();
    }

    /// Waits for jobs, and takes a batch: as long as `fits` says yes, the tenants in turn. `None`: closed, and empty.
    pub(crate) async fn take(&self, mut fits: impl FnMut(usize, &J) -> bool) -> Option<Vec<J>> {
        loop {
            let waiting = self.ready.notified();
            {
                let mut state = self.state();
                if state.jobs > 0 {
                    let batch = state.batch(&mut fits);
                    let more = state.jobs > 0 || state.closed;
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
                Some(job) if batch.is_empty() || fits(batch.len(), job) => {}
                Some(_) => {
                    self.turns.push_front(tenant);
                    break;
                }
                None => continue,
            }
            batch.extend(waiting.pop_front());
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
        assert!(matches!(queue.push(tenant(1), 8), Err(Refused::Closed)));
        assert_eq!(queue.take(|_, _| true).await, Some(vec![7]));
        assert_eq!(queue.take(|_, _| true).await, None);
        assert_eq!(queue.take(|_, _| true).await, None);
    }
}
