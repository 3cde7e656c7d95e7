//! A fair queue per node: jobs wait by tenant, and a batch takes from the tenants in turn.
//!
//! A batch takes whatever has arrived while the node was busy, one job of each tenant after the
//! other, so that a tenant with a thousand waiting jobs delays another's one job by no more than
//! the batch that is running. Both the queue and each tenant's share of it are bounded; beyond
//! that, only the tenant that floods is refused. (Round robin over flows: Nagle, RFC 970; our jobs
//! are bounded in size, so counting jobs is enough.)

mod apart;
mod queue;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use self::queue::Queue;
use crate::batch::{
    Batch, CarriedOf, Context, Doubt, End, EndOf, ErrorOf, Lane, Ticket, Work, moving,
    run as run_batch,
};
use crate::connect::NodeAddr;
use crate::error::{Error, OfCluster as _};
use crate::node::watch;
use crate::spans::{self, SPANS};
use crate::supervise::supervised;

/// How often a request may load what it needs, which may change meanwhile.
const LOADS: u32 = 8;

/// Why work was not done.
#[derive(Debug)]
pub enum Refused<E> {
    /// The queue, or the tenant's share of it, is full.
    Busy,
    /// It failed.
    Failed(E),
}

impl<E> From<E> for Refused<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

/// The bounds of a node's queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that wait for one node.
    pub node: usize,
    /// Jobs of one tenant among them.
    pub tenant: usize,
    /// Batches of one node at the same time.
    pub batches: usize,
    /// Connections that tenants with lanes of their own may have of one node.
    pub apart: usize,
}

impl Limits {
    /// Of a queue of `node` jobs: a tenant may take a quarter of it; who waits for locks, an eighth
    /// of the node's connections.
    #[must_use]
    pub fn of(node: usize, batches: usize, connections: usize) -> Self {
        Self {
            node,
            tenant: node.div_ceil(4),
            batches,
            apart: connections.div_ceil(8),
        }
    }
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Jobs that wait.
    pub waiting: usize,
    /// The age of the job that waits longest.
    pub oldest: Duration,
    /// The age of the batch that runs longest.
    pub running: Duration,
    /// For how long nothing was taken from a queue, and a job has waited in it all the time.
    pub stalled: Duration,
}

/// A queue for each node, made when first used.
pub struct Queues<J> {
    nodes: Mutex<Option<HashMap<NodeAddr, Arc<Queue<J>>>>>,
    tasks: TaskTracker,
    limits: Limits,
}

impl<J: Send + 'static> Queues<J> {
    /// None of them yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            nodes: Mutex::new(Some(HashMap::new())),
            tasks: TaskTracker::new(),
            limits,
        }
    }

    /// The node's queue; `serve` is a task that takes batches from it, started with the queue.
    fn of<F, T>(&self, node: &NodeAddr, serve: F) -> Result<Arc<Queue<J>>, Error>
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
    pub async fn drain(&self) {
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
    pub fn standings(&self) -> Vec<(NodeAddr, Standing)> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let all = nodes.iter().flatten();
        all.map(|(addr, queue)| (addr.clone(), queue.standing()))
            .collect()
    }
}

fn closing() -> Error {
    Error::Unavailable {
        detail: "the store is closing".into(),
    }
}

fn full() -> Error {
    Error::Unavailable {
        detail: "the queue is full".into(),
    }
}

/// Work that waits, what it brings along, and where its answer goes.
pub type Job<W> = (W, CarriedOf<W>, Reply<W>);

/// A caller that has gone away does not undo what was done for it.
pub type Reply<W> = oneshot::Sender<Returned<W>>;

/// Work that has left its batch.
pub struct Returned<W: Work> {
    work: W,
    carried: CarriedOf<W>,
    end: EndOf<W>,
}

impl<W: Work> Ticket<W> for Reply<W> {
    fn hand(self, work: W, carried: CarriedOf<W>, end: EndOf<W>) {
        let _gone = self.send(Returned { work, carried, end });
    }
}

/// Work that waits in queues of its own kind.
pub trait Queued: Work {
    /// The queues of its kind.
    fn queues(context: &Self::Context) -> &Queues<Job<Self>>;
}

/// Queues work for its tenant's node, and waits for the outcome. What it needs loaded is loaded
/// here, so that nobody else waits for it.
///
/// # Errors
/// [`Refused`].
pub async fn submit<W: Queued>(
    context: &W::Context,
    mut work: W,
    mut carried: CarriedOf<W>,
) -> Result<(W, W::Outcome), Refused<ErrorOf<W>>> {
    carried.came.get_or_insert_with(Instant::now);
    carried.span = spans::current();
    for _ in 0..LOADS {
        let doubt = Doubt::of(&work, &carried);
        let queued = queue(context, work, carried).await;
        let returned = queued.map_err(|refused| match (refused, doubt) {
            (refused, Doubt::No) => refused,
            (Refused::Busy, _) => Refused::Failed(doubt.told(full().into())),
            (Refused::Failed(error), _) => Refused::Failed(doubt.told(error)),
        })?;
        (work, carried) = (returned.work, returned.carried);
        match returned.end {
            End::Done(Ok(outcome)) => return Ok((work, outcome)),
            End::Done(Err(error)) => return Err(met(context, &work, error).into()),
            // It has its place behind the others of its tenant.
            End::Apart => {}
            End::Needs(needs) => {
                let loaded = context.load(work.tenant(), needs, &mut carried.own).await;
                loaded.map_err(|error| Doubt::of(&work, &carried).told(error))?;
            }
        }
    }
    let error = moving::<W::Context>();
    Err(Doubt::of(&work, &carried).told(error).into())
}

/// The error of a batch, which ran on the owner of its work's tenant.
fn met<W: Work>(context: &W::Context, work: &W, error: ErrorOf<W>) -> ErrorOf<W> {
    error.on(&context.cluster().shard_of(work.tenant()).node)
}

async fn queue<W: Queued>(
    context: &W::Context,
    work: W,
    carried: CarriedOf<W>,
) -> Result<Returned<W>, Refused<ErrorOf<W>>> {
    let failed = |error: Error| Refused::Failed(error.into());
    let tenant = work.tenant();
    let addr = &context.cluster().shard_of(tenant).node;
    context.cluster().node(addr).check().map_err(failed)?;
    let queue = W::queues(context).of(addr, |queue| {
        let weak = context.downgrade();
        supervised(W::KIND, move || serve(weak.clone(), Arc::clone(&queue)))
    });
    let queue = queue.map_err(failed)?;
    let (reply, answer) = oneshot::channel();
    queue
        .push(tenant, (work, carried, reply))
        .map_err(|refused| match refused {
            Refused::Busy => Refused::Busy,
            Refused::Failed(error) => failed(error),
        })?;
    // A batch answers all of its members: without an answer it was lost to a panic, or the
    // context was dropped.
    answer.await.map_err(|_| {
        let lost = || Error::Bug(format!("a batch of {} was lost", W::KIND));
        failed(if queue.is_closed() { closing() } else { lost() })
    })
}

/// Takes batches from a node's queue until it is closed.
async fn serve<W: Queued>(weak: <W::Context as Context>::Weak, queue: Arc<Queue<Job<W>>>) {
    loop {
        let mut weight = 0;
        let fits = |taken: usize, (work, ..): &Job<W>| {
            weight += work.weight();
            taken < W::MOST && weight <= W::HEAVIEST
        };
        let Some(jobs) = queue.take(fits).await else {
            return;
        };
        let Some(context) = W::Context::upgrade(&weak) else {
            return;
        };
        let has_own_lane = |tenant| apart::open(&context, &queue, tenant);
        run(&context, &queue, jobs, Lane::Shared(&has_own_lane)).await;
    }
}

async fn run<W: Queued>(
    context: &W::Context,
    queue: &Queue<Job<W>>,
    jobs: Vec<Job<W>>,
    lane: Lane<'_>,
) {
    let _running = queue.begin();
    metrics::histogram!(W::SIZES).record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    let span = span_of(context, &jobs);
    let run = run_batch(context, Batch::sorted(context, jobs), lane);
    run.instrument(span).await;
}

/// A trace of its own, which the traces of the requests in it are linked to.
fn span_of<W: Work>(context: &W::Context, jobs: &[Job<W>]) -> Span {
    let span = tracing::info_span!(
        target: SPANS,
        parent: None,
        "batch",
        otel.name = W::KIND,
        members = jobs.len(),
        node = Empty
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
        let shard = context.cluster().shard_of(work.tenant());
        span.record("node", watch::name(&shard.node));
    }
    span
}
