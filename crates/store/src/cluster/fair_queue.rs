//! A fair queue per node: jobs wait by tenant, and a batch takes from the tenants in turn.
//!
//! A batch takes whatever has arrived while the node was busy, one job of each tenant after the
//! other, so that a tenant with a thousand waiting jobs delays another's one job by no more than
//! the batch that is running. Both the queue and each tenant's share of it are bounded; beyond
//! that, only the tenant that floods is refused. (Round robin over flows: Nagle, RFC 970; our jobs
//! are bounded in size, so counting jobs is enough.)

pub(crate) mod apart;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sheaf_model::TenantId;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::cluster::batch::{Batch, Carried, Doubt, End, Lane, Ticket, Work, moving};
use crate::cluster::node::NodeAddr;
use crate::cluster::spans::SPANS;
use crate::cluster::supervise::supervised;
use crate::cluster::{pools, spans};
use crate::{Inner, Store, StoreError};

/// How often a request may load what it needs of its tenant's archive, which may change meanwhile.
const LOADS: u32 = 8;

/// Why work was not done.
pub(crate) enum Refused {
    /// The queue, or the tenant's share of it, is full.
    Busy,
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
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
    /// Connections that tenants with lanes of their own may have of one node.
    pub(crate) apart: usize,
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) waiting: usize,
    /// The age of the job that waits longest.
    pub(crate) oldest: Duration,
    /// The age of the batch that runs longest.
    pub(crate) running: Duration,
    /// For how long nothing was taken from a queue, and a job has waited in it all the time.
    pub(crate) stalled: Duration,
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

    /// The node's queue; `serve` is a task that takes batches from it, started with the queue.
    fn of<F, T>(&self, node: &NodeAddr, serve: F) -> Result<Arc<Queue<J>>, Refused>
    where
        F: Fn(Arc<Queue<J>>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = nodes.as_mut().ok_or_else(closing)?;
        if let Some(queue) = nodes.get(node) {
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(Queue::new(self.limits));
        for _ in 0..self.limits.batches.max(1) {
            self.tasks.spawn(serve(Arc::clone(&queue)));
        }
        nodes.insert(node.clone(), Arc::clone(&queue));
        Ok(queue)
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

    /// Where they stand, by node; none where no queue was ever used.
    pub(crate) fn standings(&self) -> Vec<(NodeAddr, Standing)> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let all = nodes.iter().flatten();
        all.map(|(addr, queue)| (addr.clone(), queue.standing()))
            .collect()
    }
}

fn closing() -> StoreError {
    StoreError::Unavailable {
        detail: "the store is closing".into(),
    }
}

fn full() -> StoreError {
    StoreError::Unavailable {
        detail: "the queue is full".into(),
    }
}

/// Work that waits, what it brings along, and where its answer goes.
pub(crate) type Job<W> = (W, Carried, Reply<W>);

/// A caller that has gone away does not undo what was done for it.
pub(crate) type Reply<W> = oneshot::Sender<Returned<W>>;

/// Work that has left its batch.
pub(crate) struct Returned<W: Work> {
    work: W,
    carried: Carried,
    end: End<W::Outcome>,
}

impl<W: Work> Ticket<W> for Reply<W> {
    fn hand(self, work: W, carried: Carried, end: End<W::Outcome>) {
        let _gone = self.send(Returned { work, carried, end });
    }
}

/// Work that waits in queues of its own kind.
pub(crate) trait Queued: Work {
    fn queues(inner: &Inner) -> &Queues<Job<Self>>;
}

impl Store {
    /// Queues work for its tenant's node, and waits for the outcome. What it needs of the archive
    /// is loaded here, so that nobody else waits for it.
    pub(crate) async fn submit<W: Queued>(
        &self,
        mut work: W,
        mut carried: Carried,
    ) -> Result<(W, W::Outcome), Refused> {
        carried.came.get_or_insert_with(Instant::now);
        carried.span = spans::current();
        for _ in 0..LOADS {
            let doubt = Doubt::of(&work, &carried);
            let queued = self.queue(work, carried).await;
            let returned = queued.map_err(|refused| match (refused, doubt) {
                (refused, Doubt::No) => refused,
                (Refused::Busy, _) => doubt.told(full()).into(),
                (Refused::Store(error), _) => doubt.told(error).into(),
            })?;
            (work, carried) = (returned.work, returned.carried);
            match returned.end {
                End::Done(Ok(outcome)) => return Ok((work, outcome)),
                End::Done(Err(error)) => return Err(self.met(&work, error).into()),
                // It has its place behind the others of its tenant.
                End::Apart => {}
                End::Needs(needs) => {
                    let loaded = self.load(work.tenant(), needs, &mut carried).await;
                    loaded.map_err(|error| Doubt::of(&work, &carried).told(error))?;
                }
            }
        }
        Err(Doubt::of(&work, &carried).told(moving()).into())
    }

    async fn queue<W: Queued>(&self, work: W, carried: Carried) -> Result<Returned<W>, Refused> {
        let tenant = work.tenant();
        let addr = &self.inner.cluster.shard_of(tenant).node;
        self.inner.cluster.node(addr).check()?;
        let inner = Arc::downgrade(&self.inner);
        let queue = W::queues(&self.inner).of(addr, |queue| {
            let inner = inner.clone();
            supervised(W::KIND, move || serve(inner.clone(), Arc::clone(&queue)))
        })?;
        let (reply, answer) = oneshot::channel();
        queue.push(tenant, (work, carried, reply))?;
        // A batch answers all of its members: without an answer it was lost to a panic, or the
        // store was dropped.
        answer.await.map_err(|_| {
            let lost = || StoreError::Bug(format!("a batch of {} was lost", W::KIND));
            let error = if queue.is_closed() { closing() } else { lost() };
            Refused::Store(error)
        })
    }
}

/// Takes batches from a node's queue until it is closed.
async fn serve<W: Queued>(inner: Weak<Inner>, queue: Arc<Queue<Job<W>>>) {
    loop {
        let mut weight = 0;
        let fits = |taken: usize, (work, ..): &Job<W>| {
            weight += work.weight();
            taken < W::MOST && weight <= W::HEAVIEST
        };
        let Some(jobs) = queue.take(fits).await else {
            return;
        };
        let Some(store) = inner.upgrade().map(|inner| Store { inner }) else {
            return;
        };
        let has_own_lane = |tenant| apart::open(&store, &queue, tenant);
        run(&store, &queue, jobs, Lane::Shared(&has_own_lane)).await;
    }
}

async fn run<W: Queued>(store: &Store, queue: &Queue<Job<W>>, jobs: Vec<Job<W>>, lane: Lane<'_>) {
    let _running = queue.begin();
    metrics::histogram!(W::SIZES).record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    let span = span_of(store, &jobs);
    let run = store.run_batch(Batch::sorted(store, jobs), lane);
    run.instrument(span).await;
}

/// A trace of its own, which the traces of the requests in it are linked to.
fn span_of<W: Work>(store: &Store, jobs: &[Job<W>]) -> Span {
    let span = tracing::info_span!(
        target: SPANS, parent: None, "batch", otel.name = W::KIND, members = jobs.len(), node = Empty
    );
    if span.is_disabled() {
        return span;
    }
    for request in jobs
        .iter()
        .filter_map(|(_, carried, _)| carried.span.as_ref())
    {
        span.follows_from(request);
    }
    if let Some((work, ..)) = jobs.first() {
        let shard = store.inner.cluster.shard_of(work.tenant());
        span.record("node", pools::name(&shard.node));
    }
    span
}

/// The jobs that wait for one node.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Notify,
    limits: Limits,
    /// Those of lanes of single tenants.
    connections: Arc<Semaphore>,
}

struct State<J> {
    /// Each with the time when it came.
    waiting: HashMap<TenantId, VecDeque<(Instant, J)>>,
    /// Tenants with waiting jobs, in the order of their turns, but those with lanes of their own.
    turns: VecDeque<TenantId>,
    /// Tenants with lanes of their own, which are told here of new jobs.
    apart: HashMap<TenantId, Arc<Notify>>,
    jobs: usize,
    closed: bool,
    /// When the batches that run were taken.
    running: BTreeMap<u64, Instant>,
    taken: u64,
    /// From the lanes that all share.
    last_taken: Instant,
}

/// A batch that runs, for as long as this lives.
struct Running<'a, J> {
    queue: &'a Queue<J>,
    number: u64,
}

impl<J> Drop for Running<'_, J> {
    fn drop(&mut self) {
        self.queue.state().running.remove(&self.number);
    }
}

impl<J> Queue<J> {
    fn new(limits: Limits) -> Self {
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

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, tenant: TenantId, job: J) -> Result<(), Refused> {
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
    fn begin(&self) -> Running<'_, J> {
        let mut state = self.state();
        state.taken += 1;
        let number = state.taken;
        state.running.insert(number, Instant::now());
        Running {
            queue: self,
            number,
        }
    }

    fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn standing(&self) -> Standing {
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

    fn close(&self) {
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
    pub(crate) async fn take(&self, mut fits: impl FnMut(usize, &J) -> bool) -> Option<Vec<J>> {
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
        assert!(matches!(queue.push(tenant(1), 8), Err(Refused::Store(_))));
        assert_eq!(queue.take(|_, _| true).await, Some(vec![7]));
        assert_eq!(queue.take(|_, _| true).await, None);
        assert_eq!(queue.take(|_, _| true).await, None);
    }
}
