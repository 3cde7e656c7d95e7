//! One query: a task of its own that computes while its answer is read, and that ends when nobody reads it any more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures_util::StreamExt;
use sheaf_model::TenantId;
use sheaf_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::error::QueryError;
use super::files::Scope;
use super::guard::{self, Query};
use super::hot::HotTier;
use super::reader::Readers;
use super::session::session;
use super::stats::{Counters, QueryStats};
use super::tables::carried;
use super::{Engine, QueryLimits, QueryOptions, Tiers};
use crate::ArchiveError;
use crate::places::Place;

/// Batches that are computed ahead of the reader.
const AHEAD: usize = 2;
/// Attempts to plan a query.
const PLAN_ATTEMPTS: u32 = 4;
/// The pause after the first of them; it grows with each.
const PLAN_PAUSE: Duration = Duration::from_millis(50);
/// Files of a tenant, at most.
const MAX_FILES: usize = 50_000;
/// Recalls of a tenant, at most.
const MAX_RECALLS: usize = 1_000_000;

/// A running query. Dropping it ends it.
pub struct QueryRun {
    schema: SchemaRef,
    tiers: Tiers,
    as_of: DateTime<Utc>,
    counters: Arc<Counters>,
    batches: mpsc::Receiver<RecordBatch>,
    /// Told once, after the last batch.
    end: Option<oneshot::Receiver<Result<(), QueryError>>>,
    _task: Task,
}

impl std::fmt::Debug for QueryRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryRun")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Ends with its handle.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
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

/// What is known when the plan is made.
struct Planned {
    schema: SchemaRef,
    as_of: DateTime<Utc>,
}

impl Engine {
    /// Plans a query and begins to run it.
    pub(crate) async fn run(
        &self,
        tenant: TenantId,
        sql: &str,
        options: QueryOptions,
    ) -> Result<QueryRun, QueryError> {
        let query = guard::parse(sql)?;
        let place = self.place(tenant)?;
        let counters = Arc::new(Counters::new());
        let (send_plan, plan) = oneshot::channel();
        let (send, batches) = mpsc::channel(AHEAD);
        let (send_end, end) = oneshot::channel();
        let job = Job {
            store: self.store.clone(),
            limits: self.limits,
            max_rows: options.max_rows.min(self.limits.rows),
            tenant,
            query,
            tiers: options.tiers,
            readers: Arc::new(Readers {
                objects: Arc::clone(&self.objects),
                counters: Arc::clone(&counters),
                failure: Mutex::new(None),
            }),
        };
        let task = self
            .runtime()?
            .spawn(job.run(place, send_plan, send, send_end));
        let task = Task(task.abort_handle());
        let planned = plan.await.map_err(|_| lost())??;
        Ok(QueryRun {
            schema: planned.schema,
            tiers: options.tiers,
            as_of: planned.as_of,
            counters,
            batches,
            end: Some(end),
            _task: task,
        })
    }
}

/// Lets a plan be stopped where it makes many rows of few: the engine itself yields at its leaves only, which a large
/// join has read long before it ends.
fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let yielding = plan.transform_up(|node| {
        if node.children().len() < 2 && !node.is::<UnnestExec>() {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _))
    });
    yielding.map(|changed| changed.data)
}

/// All that the task owns.
struct Job {
    store: Store,
    limits: QueryLimits,
    max_rows: usize,
    tenant: TenantId,
    query: Query,
    tiers: Tiers,
    readers: Arc<Readers>,
}

type Told<T> = oneshot::Sender<Result<T, QueryError>>;

impl Job {
    /// The place is given back before the end is told: whoever asks next must find it free.
    async fn run(
        self,
        place: Place,
        send_plan: Told<Planned>,
        send: mpsc::Sender<RecordBatch>,
        send_end: Told<()>,
    ) {
        let deadline = Instant::now() + self.limits.time;
        let late = |_| QueryError::Timeout {
            seconds: self.limits.time.as_secs(),
        };
        let planned = timeout_at(deadline, Box::pin(self.plan_or_retry())).await;
        // Whom nobody listens to needs no answer.
        let stream = match planned.map_err(late).flatten() {
            Ok((planned, stream)) => {
                if send_plan.send(Ok(planned)).is_err() {
                    return;
                }
                stream
            }
            Err(error) => {
                drop(place);
                let _ = send_plan.send(Err(error));
                return;
            }
        };
        // The reader may be slow, but not for ever: an answer has the time of its query.
        let sent = timeout_at(deadline, self.send_all(stream, &send)).await;
        drop(place);
        let _ = send_end.send(sent.map_err(late).flatten());
    }

    /// Plans, and again where the hot rows could not be read beside whoever makes or drops a partition.
    async fn plan_or_retry(&self) -> Result<(Planned, SendableRecordBatchStream), QueryError> {
        for attempt in 1..PLAN_ATTEMPTS {
            match self.plan().await {
                Err(QueryError::Archive(ArchiveError::Store(StoreError::Unavailable {
                    detail,
                }))) => {
                    tracing::debug!(attempt, detail, "a query is planned again");
                    self.readers.counters.clear();
                    tokio::time::sleep(PLAN_PAUSE * attempt).await;
                }
                planned => return planned,
            }
        }
        self.plan().await
    }

    /// The scope, the plan, and the stream that runs it.
    async fn plan(&self) -> Result<(Planned, SendableRecordBatchStream), QueryError> {
        let (scope, as_of) = self.scope().await?;
        let state = session(&scope, &self.limits).map_err(|e| self.error(e))?;
        let stream = self.stream(&state).await.map_err(|e| self.error(e))?;
        let schema = stream.schema();
        Ok((Planned { schema, as_of }, stream))
    }

    async fn stream(
        &self,
        state: &SessionState,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let plan = state
            .statement_to_plan(self.query.statement.clone())
            .await?;
        guard::plan_options().verify_plan(&plan)?;
        let plan = if self.query.explain {
            plan
        } else {
            // One more than may be: it tells that there are more.
            LogicalPlanBuilder::from(plan)
                .limit(0, Some(self.max_rows.saturating_add(1)))?
                .build()?
        };
        let plan = state.create_physical_plan(&plan).await?;
        execute_stream(interruptible(plan)?, state.task_ctx())
    }

    /// The tenant's files, recalls and hot rows, of one snapshot.
    async fn scope(&self) -> Result<(Arc<Scope>, DateTime<Utc>), QueryError> {
        let failed = ArchiveError::Store;
        let snapshot = self.store.tenant_snapshot(self.tenant);
        let snapshot = snapshot.await.map_err(failed)?;
        let as_of = snapshot.taken_at();
        // Sent at once: for a small question, these round trips are a good part of its time.
        let declared = self.store.metadata_columns(self.tenant);
        let (files, recalls) = (snapshot.files(MAX_FILES), snapshot.recalls(MAX_RECALLS));
        let asked = futures_util::future::try_join3(files, recalls, declared).await;
        let (files, recalls, declared) = asked.map_err(failed)?;
        let keys = declared.keys;
        let files = files.ok_or(ArchiveError::TooManyFiles { limit: MAX_FILES })?;
        let recalls = recalls.ok_or(ArchiveError::TooManyFiles { limit: MAX_RECALLS })?;
        let hot = match self.tiers {
            Tiers::All => {
                let (keys, limit) = (Arc::clone(&keys), self.limits.hot_invoices);
                Some(HotTier::open(snapshot, self.tenant, keys, limit).await?)
            }
            Tiers::Cold => {
                snapshot.finish().await.map_err(failed)?;
                None
            }
        };
        let counters = &self.readers.counters;
        counters
            .files_total
            .store(files.len() as u64, Ordering::Relaxed);
        let scope = Scope {
            tenant: self.tenant,
            keys,
            files: files.into_iter().map(Arc::new).collect(),
            recalls,
            hot,
            readers: Arc::clone(&self.readers),
        };
        Ok((Arc::new(scope), as_of))
    }

    async fn send_all(
        &self,
        mut stream: SendableRecordBatchStream,
        send: &mpsc::Sender<RecordBatch>,
    ) -> Result<(), QueryError> {
        let counters = &self.readers.counters;
        let mut rows = 0_usize;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| self.error(e))?;
            rows = rows.saturating_add(batch.num_rows());
            if rows > self.max_rows && !self.query.explain {
                let limit = self.max_rows;
                return Err(QueryError::TooManyRows { limit });
            }
            counters.rows.store(rows as u64, Ordering::Relaxed);
            if batch.num_rows() > 0 && send.send(batch).await.is_err() {
                return Ok(());
            }
        }
        if self.query.explain {
            let text = counters.read().explained();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec!["archive"])),
                Arc::new(StringArray::from(vec![text])),
            ];
            let batch = RecordBatch::try_new(stream.schema(), columns)
                .map_err(|e| QueryError::Internal(e.to_string()))?;
            // Whoever has gone does not need it.
            let _ = send.send(batch).await;
        }
        Ok(())
    }

    /// What an error of the engine means: the storage's own failure, ours, or the query's.
    fn error(&self, error: DataFusionError) -> QueryError {
        if let Some(failure) = self.readers.take_failure() {
            return failure.into();
        }
        match carried(error) {
            Ok(own) => own,
            Err(error) => QueryError::of_engine(&error, self.limits.memory),
        }
    }
}
