//! Lanes of single tenants. A tenant whose work waits for locked rows, its own upload's mostly,
//! leaves the lanes that all share: there, everybody's work would wait with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sheaf_model::TenantId;
use tokio::sync::Notify;

use super::queue::{Queue, State};
use super::{Job, Queued, run};
use crate::batch::{Context, Lane, OwnLane};
use crate::supervise::supervised;

/// Lanes of single tenants beside one queue. Beyond that, whoever waits does so in the lanes of
/// all.
const MOST: usize = 64;
/// For how long nothing of a tenant has waited for a lock before it shares again.
const CALM: Duration = Duration::from_secs(10);

/// Gives the tenant a lane of its own, if it has none yet. Whether it has one now.
pub(super) fn open<W: Queued>(
    context: &W::Context,
    queue: &Arc<Queue<Job<W>>>,
    tenant: TenantId,
) -> bool {
    let ready = {
        let mut state = queue.state();
        if state.apart.contains_key(&tenant) {
            return true;
        }
        if state.closed || state.apart.len() >= MOST {
            return false;
        }
        let ready = Arc::new(Notify::new());
        state.apart.insert(tenant, Arc::clone(&ready));
        state.turns.retain(|turn| *turn != tenant);
        ready
    };
    metrics::counter!("sheaf_own_lanes_total", "queue" => W::KIND).increment(1);
    tracing::info!(
        %tenant,
        queue = W::KIND,
        "work waits for locked rows: its tenant has a lane of its own"
    );
    let (weak, queue) = (context.downgrade(), Arc::clone(queue));
    W::queues(context).tasks.spawn(supervised(W::KIND, move || {
        serve(weak.clone(), Arc::clone(&queue), tenant, Arc::clone(&ready))
    }));
    true
}

/// Runs the tenant's batches until none has waited for a while.
async fn serve<W: Queued>(
    weak: <W::Context as Context>::Weak,
    queue: Arc<Queue<Job<W>>>,
    tenant: TenantId,
    ready: Arc<Notify>,
) {
    let own = OwnLane {
        waited: AtomicBool::new(true),
        connections: Arc::clone(&queue.connections),
    };
    let mut calm_at = Instant::now();
    loop {
        if own.waited.swap(false, Ordering::Relaxed) {
            calm_at = Instant::now() + CALM;
        }
        let Some(jobs) = queue.take_of(tenant, &ready, calm_at).await else {
            return;
        };
        let Some(context) = W::Context::upgrade(&weak) else {
            return;
        };
        run(&context, &queue, jobs, Lane::Own(&own)).await;
    }
}

impl<W: Queued> Queue<Job<W>> {
    /// Waits for jobs of a tenant with a lane of its own, and takes a batch of them. `None`: the
    /// lane is closed, and what waits has its turn among the others.
    async fn take_of(
        &self,
        tenant: TenantId,
        ready: &Notify,
        calm_at: Instant,
    ) -> Option<Vec<Job<W>>> {
        loop {
            {
                let mut state = self.state();
                let jobs = state.batch_of(tenant);
                // What was taken is served after closing: then nobody else would.
                let is_over = match state.closed {
                    true => jobs.is_empty(),
                    false => Instant::now() >= calm_at,
                };
                if is_over {
                    state.put_back(tenant, jobs);
                    drop(state);
                    self.ready.notify_one();
                    return None;
                }
                if !jobs.is_empty() {
                    return Some(jobs.into_iter().map(|(_, job)| job).collect());
                }
            }
            // In time for whoever came meanwhile: a permit is kept.
            let _calm = tokio::time::timeout_at(calm_at.into(), ready.notified()).await;
        }
    }
}

impl<W: Queued> State<Job<W>> {
    /// The tenant's next jobs, as many as fit in a batch.
    fn batch_of(&mut self, tenant: TenantId) -> Vec<(Instant, Job<W>)> {
        let Some(waiting) = self.waiting.get_mut(&tenant) else {
            return Vec::new();
        };
        let (mut jobs, mut weight) = (Vec::new(), 0);
        while let Some((_, (work, ..))) = waiting.front() {
            weight += work.weight();
            if !jobs.is_empty() && (jobs.len() >= W::MOST || weight > W::HEAVIEST) {
                break;
            }
            jobs.extend(waiting.pop_front());
        }
        if waiting.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.jobs -= jobs.len();
        jobs
    }

    /// Ends the tenant's lane.
    fn put_back(&mut self, tenant: TenantId, jobs: Vec<(Instant, Job<W>)>) {
        self.apart.remove(&tenant);
        self.jobs += jobs.len();
        for job in jobs.into_iter().rev() {
            self.waiting.entry(tenant).or_default().push_front(job);
        }
        if self.waiting.contains_key(&tenant) {
            self.turns.push_back(tenant);
        }
    }
}
