//! The one loop of all batches.
//!
//! A batch is one transaction on one node. When an attempt fails, the loop decides what becomes of
//! it: it is tried again, it is taken apart (by node, by shard, by tenant, by halves) until only
//! the culprit fails, or a member leaves it: because something has to be loaded for it first, or
//! because it waits for a lock in a lane that others share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use sheaf_model::TenantId;
use tokio::sync::Semaphore;

use super::context::Context;
use super::place::{Frame, Place};
use super::{Abort, AbortOf, Batch, CarriedOf, Doubt, End, ErrorOf, Ticket, Work};
use crate::error::{Error, Failure, OfCluster, classify, said};
use crate::routing::shard::Shard;
use crate::supervise::caught;
use crate::transaction::Session;

/// Parts of a batch that run side by side, each on a connection of its own.
const SIDE_BY_SIDE: usize = 4;
/// The same of members that are alone in theirs: these are quick.
const ALONE_AT_ONCE: usize = 16;
/// Attempts of a batch that waits for locked rows, before only those of its members wait that need
/// them.
const TOGETHER: u32 = 2;

/// Where a batch runs, and so for whom it may wait.
#[derive(Clone, Copy)]
pub enum Lane<'a> {
    /// All tenants of the node share it: whoever waits for locked rows leaves it. Told of a tenant
    /// that does, it says whether that has a lane of its own from now on.
    Shared(&'a (dyn Fn(TenantId) -> bool + Send + Sync)),
    /// One tenant's.
    Own(&'a OwnLane),
    /// An upload's, which nobody else waits for.
    Upload,
}

/// A lane of one tenant, whose work waits for locked rows.
pub struct OwnLane {
    /// Whether its work has waited since this was last asked.
    pub waited: AtomicBool,
    /// Those of the node's connections that all such lanes may have.
    pub connections: Arc<Semaphore>,
}

/// How a batch is run.
#[derive(Clone, Copy)]
struct How<'a> {
    /// Attempts that count as made.
    spent: u32,
    /// Until when it is tried again.
    until: Instant,
    lane: Lane<'a>,
}

/// What is known of an attempt beside its error.
#[derive(Default)]
struct Seen {
    in_company: bool,
    committing: AtomicBool,
    shard_locked: AtomicBool,
}

/// Runs a batch until each of its members has left it.
pub async fn run<W: Work, T: Ticket<W>>(context: &W::Context, batch: Batch<W, T>, lane: Lane<'_>) {
    let how = How {
        spent: 0,
        until: Instant::now() + context.cluster().config().lock_patience,
        lane,
    };
    run_as(context, batch, how).await;
}

async fn run_as<W: Work, T: Ticket<W>>(context: &W::Context, mut batch: Batch<W, T>, how: How<'_>) {
    let shard = |work: &W| context.cluster().shard_of(work.tenant());
    let anew = How { spent: 0, ..how };
    let mut attempt = how.spent;
    let mut in_company = matches!(how.lane, Lane::Shared(_));
    while batch.len() > 0 {
        if matches!(how.lane, Lane::Own(_)) {
            release_late(context, &mut batch);
            if batch.len() == 0 {
                return;
            }
        }
        attempt += 1;
        let shards: Vec<_> = batch.works.iter().map(shard).collect();
        if shards.windows(2).any(|two| two[0].node != two[1].node) {
            let together = |a: &W, b: &W| shard(a).node == shard(b).node;
            return each(context, batch.runs(together), SIDE_BY_SIDE, anew).await;
        }
        if batch.len() > 1 && batch.works.iter().any(W::is_alone) {
            let together = |a: &W, b: &W| !a.is_alone() && !b.is_alone();
            return each(context, batch.runs(together), ALONE_AT_ONCE, anew).await;
        }
        let seen = Seen {
            in_company,
            ..Seen::default()
        };
        let tried = attempt_batch(context, &shards, &mut batch, &seen, how).await;
        let (kind, error) = match tried {
            Ok(outcomes) => return batch.answer(outcomes),
            Err(Abort::Needs(needs)) => {
                let share = |work: &W, _: &CarriedOf<W>| {
                    let share = work.share_of(needs.get(&work.tenant())?);
                    share.map(End::Needs)
                };
                if batch.release(share) {
                    attempt = how.spent;
                    continue;
                }
                (Failure::Fatal, moving::<W::Context>())
            }
            Err(Abort::Apart(tenant)) => {
                let goes_there = match how.lane {
                    Lane::Shared(has_own_lane) => has_own_lane(tenant),
                    Lane::Own(_) | Lane::Upload => false,
                };
                let leaves = |work: &W, _: &CarriedOf<W>| {
                    (goes_there && work.tenant() == tenant).then_some(End::Apart)
                };
                in_company = batch.release(leaves);
                attempt = how.spent;
                continue;
            }
            Err(Abort::Stale(stale)) => {
                context.remember(stale);
                if attempt < W::ATTEMPTS {
                    continue;
                }
                (Failure::Retry, moving::<W::Context>())
            }
            Err(Abort::Db(error)) => {
                let kind = seen.kind_of(&error);
                (kind, told(kind, error).into())
            }
            Err(Abort::Failed(error)) => (kind_of(&error), error),
            Err(Abort::Bug(text)) => (Failure::Fatal, Error::Bug(text).into()),
        };
        let is_bug = matches!(error.of_cluster(), Some(Error::Bug(_)));
        let is_lost = kind == Failure::Unavailable || is_bug;
        if is_lost && seen.committing.load(Ordering::Relaxed) {
            batch.lose(&error);
        }
        let several = shards.windows(2).any(|two| two[0].id != two[1].id);
        if kind == Failure::ShardLocked && several {
            // One shard is being moved: the others need not wait for it.
            let together = |a: &W, b: &W| shard(a).id == shard(b).id;
            return each(context, batch.runs(together), SIDE_BY_SIDE, anew).await;
        }
        let waits = matches!(kind, Failure::Locked | Failure::Timeout);
        if waits && !batch.is_of_one_tenant() {
            metrics::counter!("sheaf_flush_fallback_total").increment(1);
            let spent = match kind {
                Failure::Timeout => W::ATTEMPTS - 1,
                _ => 0,
            };
            let runs = batch.runs(|a, b| a.tenant() == b.tenant());
            return each(context, runs, SIDE_BY_SIDE, How { spent, ..how }).await;
        }
        let mut is_patient = false;
        match how.lane {
            Lane::Shared(has_own_lane) if waits => {
                let goes_there = has_own_lane(batch.works[0].tenant());
                if goes_there && kind == Failure::Locked {
                    batch.release(|_, _| Some(End::Apart));
                    return;
                }
            }
            Lane::Own(own) if waits => {
                own.waited.store(true, Ordering::Relaxed);
                is_patient = true;
                if kind == Failure::Locked && batch.len() > 1 && attempt >= TOGETHER {
                    let runs = batch.runs(|_, _| false);
                    return each(context, runs, SIDE_BY_SIDE, how).await;
                }
            }
            Lane::Shared(_) => {}
            Lane::Own(_) | Lane::Upload => is_patient = true,
        }
        // A node that went away in the middle of a commit is waited for: it alone can tell.
        let asks = kind == Failure::Unavailable && batch.is_uncertain();
        let is_patient = is_patient && matches!(kind, Failure::Locked | Failure::ShardLocked);
        let again = !matches!(kind, Failure::Fatal | Failure::Timeout)
            && (attempt < W::ATTEMPTS || asks || is_patient)
            && Instant::now() < how.until;
        if again {
            after_failure(context, W::KIND, kind, attempt, &error).await;
            continue;
        }
        return give_up(context, batch, kind, error, how).await;
    }
}

/// Lets those go that have waited for as long as one may since they came: behind others of
/// their tenant, or for a lock.
fn release_late<W: Work, T: Ticket<W>>(context: &W::Context, batch: &mut Batch<W, T>) {
    let patience = context.cluster().config().lock_patience;
    let is_late = |carried: &CarriedOf<W>| carried.came.is_some_and(|at| at.elapsed() >= patience);
    batch.release(|work, carried| {
        let told = || Doubt::of(work, carried).told(contended().into());
        is_late(carried).then(|| End::Done(Err(told())))
    });
}

/// After the last attempt: only the culprits fail.
async fn give_up<W: Work, T: Ticket<W>>(
    context: &W::Context,
    batch: Batch<W, T>,
    kind: Failure,
    error: ErrorOf<W>,
    how: How<'_>,
) {
    let is_of_all = matches!(
        kind,
        // All of its members are of one node, one shard, one tenant.
        Failure::Unavailable | Failure::ShardLocked | Failure::Locked | Failure::Timeout
    );
    if !is_of_all && batch.len() > 1 {
        metrics::counter!("sheaf_flush_fallback_total").increment(1);
        // One after the other: changes of one row keep their order.
        for half in batch.halves() {
            Box::pin(run_as(context, half, How { spent: 0, ..how })).await;
        }
        return;
    }
    tracing::warn!(%error, members = batch.len(), "a batch of {} failed", W::KIND);
    batch.fail(&error);
}

/// Runs the parts of a batch, `at_once` of them side by side.
async fn each<W: Work, T: Ticket<W>>(
    context: &W::Context,
    runs: Vec<Batch<W, T>>,
    at_once: usize,
    how: How<'_>,
) {
    stream::iter(runs)
        .for_each_concurrent(at_once, |run| Box::pin(run_as(context, run, how)))
        .await;
}

/// One attempt. A panic ends it as an error does: its connection is closed, and with it the
/// transaction.
async fn attempt_batch<W: Work, T>(
    context: &W::Context,
    shards: &[Arc<Shard>],
    batch: &mut Batch<W, T>,
    seen: &Seen,
    how: How<'_>,
) -> Result<Vec<W::Outcome>, AbortOf<W>> {
    let (works, carried) = (&mut batch.works, &batch.carried);
    let attempt = async {
        let prepared = W::prepare(context, works, carried).await;
        prepared.map_err(Abort::Failed)?;
        let known = W::known(context, works, carried)?;
        // The server bounds its statements; a server that hangs does not.
        let most = context.cluster().config().attempt_timeout();
        let _place = match how.lane {
            Lane::Own(own) => {
                let place = own.connections.acquire();
                let place = tokio::time::timeout_at(how.until.into(), place).await;
                place.map_err(|_| Abort::from(contended()))?.ok()
            }
            Lane::Shared(_) | Lane::Upload => None,
        };
        let within = transact(context, shards, works, &known, seen);
        tokio::time::timeout(most, within)
            .await
            .unwrap_or_else(|_| {
                Err(Abort::from(Error::Unavailable {
                    detail: format!("it did not answer within {} s", most.as_secs()),
                }))
            })
    };
    Box::pin(caught(W::KIND, attempt))
        .await
        .unwrap_or_else(|text| Err(Abort::Bug(text)))
}

async fn transact<W: Work>(
    context: &W::Context,
    shards: &[Arc<Shard>],
    works: &mut [W],
    known: &W::Known,
    seen: &Seen,
) -> Result<Vec<W::Outcome>, AbortOf<W>> {
    let Some(first) = shards.first() else {
        return Ok(Vec::new());
    };
    let node = context.cluster().node(&first.node);
    let session = Session::open(&node).await?;
    let place = Place {
        conn: session.conn()?,
        frame: Frame::Own,
        shards,
        direct: context.cluster().is_direct(),
        committing: &seen.committing,
        shard_locked: &seen.shard_locked,
        in_company: seen.in_company,
    };
    match W::attempt(context, &place, works, known).await {
        Ok(outcomes) => {
            session.release();
            Ok(outcomes)
        }
        Err(abort) => {
            session.rollback().await;
            Err(abort)
        }
    }
}

/// Waits a little before the next attempt, and forgets what the failure says is out of date.
pub async fn after_failure<C: Context>(
    context: &C,
    queue: &'static str,
    kind: Failure,
    attempt: u32,
    error: &C::Error,
) {
    metrics::counter!("sheaf_flush_retry_total", "queue" => queue).increment(1);
    tracing::debug!(%error, ?kind, attempt, queue, "a batch is tried again");
    if kind == Failure::MissingPartition {
        context.forget_partitions();
    }
    match kind {
        Failure::Unavailable => {
            let pause = Duration::from_millis(20 << attempt.min(6));
            tokio::time::sleep(pause).await;
        }
        _ => tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 2)).await,
    }
    // A shard that has left may leave its tables, or take them along.
    if !matches!(
        kind,
        Failure::Unique | Failure::Locked | Failure::ShardLocked
    ) {
        context.cluster().reroute().await;
    }
}

impl Seen {
    fn kind_of(&self, error: &tokio_postgres::Error) -> Failure {
        match classify(error) {
            Failure::Locked if self.shard_locked.load(Ordering::Relaxed) => Failure::ShardLocked,
            kind => kind,
        }
    }
}

fn kind_of(error: &impl OfCluster) -> Failure {
    match error.of_cluster() {
        Some(Error::Unavailable { .. }) => Failure::Unavailable,
        Some(Error::Timeout) => Failure::Timeout,
        _ => Failure::Fatal,
    }
}

/// A race that was lost to the last is no fault of the database.
fn told(kind: Failure, error: tokio_postgres::Error) -> Error {
    match kind {
        Failure::Unique | Failure::Locked | Failure::Retry => {
            tracing::debug!(error = said(&error), "a batch met somebody else's");
            contended()
        }
        _ => error.into(),
    }
}

fn contended() -> Error {
    Error::Contended {
        what: "rows that the request needs",
    }
}

/// The error of work whose facts were out of date again and again.
pub fn moving<C: Context>() -> C::Error {
    Error::Contended { what: C::STALE }.into()
}
