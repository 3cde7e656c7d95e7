//! A running query as its reader sees it: a handle on what computes while the answer is read, and
//! ends when nobody reads it any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use sheaf_model::TenantId;
use sheaf_store::Share;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until, timeout};

use super::engine::Engine;
use super::error::QueryError;
use super::job::{Job, PlanResult, PlanSender};
use super::options::{QueryOptions, Tiers};
use crate::query::answer::stats::{Counters, QueryStats};
use crate::query::bound::lane::Lane;
use crate::query::bound::watch::Watch;
use crate::query::table::reader::Readers;

/// Batches that are computed ahead of the reader.
const AHEAD: usize = 2;
/// How long the end of a query is held back while its threads still run, so that its share is
/// free again by then.
const GRACE: Duration = Duration::from_millis(200);

/// A running query. Dropping it ends it.
pub struct QueryRun {
    schema: SchemaRef,
    tiers: Tiers,
    as_of: DateTime<Utc>,
    counters: Arc<Counters>,
    batches: mpsc::Receiver<RecordBatch>,
    /// Sent once, after the last batch.
    end: Option<oneshot::Receiver<Result<(), QueryError>>>,
    _reading: Reading,
}

impl std::fmt::Debug for QueryRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryRun")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// As long as there is one, somebody waits for the answer.
struct Reading(Arc<Watch>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl QueryRun {
    /// The columns of the answer.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What is read.
    pub fn tiers(&self) -> Tiers {
        self.tiers
    }

    /// The moment of the snapshot: what was committed by then is what the query sees.
    pub fn as_of(&self) -> DateTime<Utc> {
        self.as_of
    }

    /// What was read by now.
    pub fn stats(&self) -> QueryStats {
        self.counters.read()
    }

    /// The next rows; none at the end. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        if let Some(end) = &mut self.end {
            tokio::select! {
                biased;
                batch = self.batches.recv() => {
                    if let Some(batch) = batch {
                        return Some(Ok(batch));
                    }
                }
                // A query that is late is reported while its threads still run.
                ended = end => {
                    self.end = None;
                    match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Some(Err(error)),
                        Err(_) => return Some(Err(lost())),
                    }
                }
            }
        }
        if let Some(batch) = self.batches.recv().await {
            return Some(Ok(batch));
        }
        // Batches that stop are no end yet: a task that was lost must not look like a short answer.
        match self.end.take()?.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => Some(Err(lost())),
        }
    }
}

fn lost() -> QueryError {
    QueryError::Internal("the query's task was lost".to_owned())
}

/// The error of a computation that did not finish.
fn died(error: JoinError) -> QueryError {
    let Ok(panic) = error.try_into_panic() else {
        return lost();
    };
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic".to_owned(),
    };
    QueryError::of_panic(text)
}

impl Engine {
    /// Plans a query and begins to run it.
    pub(crate) async fn run(
        &self,
        tenant: TenantId,
        sql: &str,
        options: QueryOptions,
    ) -> Result<QueryRun, QueryError> {
        let runtime = self.runtime()?;
        let share = self.share(tenant)?;
        let watch = Watch::new(self.limits.time);
        let reading = Reading(Arc::clone(&watch));
        let counters = Arc::new(Counters::new());
        let (send_plan, plan) = oneshot::channel();
        let (send, batches) = mpsc::channel(AHEAD);
        let (send_end, end) = oneshot::channel();
        let job = Job {
            store: self.store.clone(),
            limits: self.limits,
            max_rows: options.max_rows.min(self.limits.rows),
            tenant,
            sql: sql.to_owned(),
            tiers: options.tiers,
            began: Utc::now(),
            readers: Arc::new(Readers {
                objects: Arc::clone(&self.objects),
                counters: Arc::clone(&counters),
                failure: Mutex::new(None),
                away: runtime.handle().clone(),
            }),
            watch,
        };
        runtime.spawn(supervise(Arc::new(job), share, send_plan, send, send_end));
        let planned = plan.await.map_err(|_| lost())??;
        Ok(QueryRun {
            schema: planned.schema,
            tiers: options.tiers,
            as_of: planned.as_of,
            counters,
            batches,
            end: Some(end),
            _reading: reading,
        })
    }
}

/// Lets a query compute on threads of its own until it is done, late, or nobody waits for it. Its
/// share is given back when those threads have really ended, and before the end is reported where
/// that does not take long: the next query must find it free.
async fn supervise(
    job: Arc<Job>,
    share: Share,
    plan: oneshot::Sender<PlanResult>,
    send: mpsc::Sender<RecordBatch>,
    end: oneshot::Sender<Result<(), QueryError>>,
) {
    let watch = Arc::clone(&job.watch);
    let plan = PlanSender::new(plan);
    let tell_end = |outcome: Result<(), QueryError>| match outcome {
        Err(error) => {
            // Before there is a plan, the caller waits for that.
            if let Err(error) = plan.send(Err(error)) {
                let _ = end.send(error.map(drop));
            }
        }
        Ok(()) => {
            let _ = end.send(Ok(()));
        }
    };
    let (lane, mut work) = match Lane::start(&job.limits) {
        Ok(lane) => {
            let work = lane.spawn(Box::pin(job.run(plan.clone(), send)));
            (lane, work)
        }
        Err(error) => {
            drop(share);
            return tell_end(Err(error));
        }
    };
    let outcome = tokio::select! {
        done = &mut work => done.map_err(died).flatten(),
        () = sleep_until(Instant::from_std(watch.deadline())) =>
            Err(QueryError::from(watch.late())),
        () = watch.gone() => Err(lost()),
    };
    work.abort();
    if lane.is_quiet() {
        drop((lane, share));
        return tell_end(outcome);
    }
    let mut finished = std::pin::pin!(lane.finish());
    if timeout(GRACE, &mut finished).await.is_ok() {
        drop(share);
        return tell_end(outcome);
    }
    tell_end(outcome);
    finished.await;
    drop(share);
}
