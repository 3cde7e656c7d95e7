//! One query from inside: its snapshot, its plan, and the rows that it answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures_util::StreamExt;
use sheaf_model::TenantId;
use sheaf_store::{ClusterError, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::error::QueryError;
use super::options::Tiers;
use super::session::session;
use crate::ArchiveError;
use crate::query::bound::room;
use crate::query::bound::watch::Watch;
use crate::query::statement::complexity;
use crate::query::statement::guard;
use crate::query::statement::guard::Query;
use crate::query::table::carried;
use crate::query::table::files::Scope;
use crate::query::table::hot::HotTier;
use crate::query::table::reader::Readers;
use crate::quota::QueryLimits;

/// Attempts to plan a query.
const PLAN_ATTEMPTS: u32 = 4;
/// The pause after the first of them; it grows with each.
const PLAN_PAUSE: Duration = Duration::from_millis(50);
/// Files of a tenant, at most.
const MAX_FILES: usize = 50_000;
/// Recalls of a tenant, at most.
const MAX_RECALLS: usize = 1_000_000;

/// What is known when the plan is made.
pub(super) struct Planned {
    pub(super) schema: SchemaRef,
    pub(super) as_of: DateTime<Utc>,
}

/// The plan of a query, or why it has none.
pub(super) type PlanResult = Result<Planned, QueryError>;

/// The channel of a query's plan. One result is sent, be it by the query itself or by what watches
/// over it.
#[derive(Clone)]
pub(super) struct PlanSender(Arc<Mutex<Option<oneshot::Sender<PlanResult>>>>);

impl PlanSender {
    pub(super) fn new(sender: oneshot::Sender<PlanResult>) -> Self {
        Self(Arc::new(Mutex::new(Some(sender))))
    }

    /// Whether the plan was received; gives it back where one was sent already.
    pub(super) fn send(&self, plan: PlanResult) -> Result<bool, PlanResult> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sender.take() {
            Some(sender) => Ok(sender.send(plan).is_ok()),
            None => Err(plan),
        }
    }
}

/// All that a query owns.
pub(super) struct Job {
    pub(super) store: Store,
    pub(super) limits: QueryLimits,
    pub(super) max_rows: usize,
    pub(super) tenant: TenantId,
    pub(super) sql: String,
    pub(super) tiers: Tiers,
    /// What `now()` is.
    pub(super) began: DateTime<Utc>,
    pub(super) readers: Arc<Readers>,
    pub(super) watch: Arc<Watch>,
}

impl Job {
    pub(super) async fn run(
        self: Arc<Self>,
        plan: PlanSender,
        send: mpsc::Sender<RecordBatch>,
    ) -> Result<(), QueryError> {
        let query = guard::parse(&self.sql)?;
        let (planned, stream) = Box::pin(self.plan_or_retry(&query)).await?;
        // Where nobody waits any more, there is nothing to compute.
        if !plan.send(Ok(planned)).is_ok_and(|is_heard| is_heard) {
            return Ok(());
        }
        self.send_all(&query, stream, &send).await
    }

    /// Plans, and again where the hot rows could not be read while a partition was made or
    /// dropped.
    async fn plan_or_retry(
        self: &Arc<Self>,
        query: &Query,
    ) -> Result<(Planned, SendableRecordBatchStream), QueryError> {
        for attempt in 1..PLAN_ATTEMPTS {
            match self.plan(query).await {
                Err(QueryError::Archive(ArchiveError::Store(StoreError::Cluster(
                    ClusterError::Unavailable { detail },
                )))) => {
                    tracing::debug!(attempt, detail, "a query is planned again");
                    self.readers.counters.clear();
                    tokio::time::sleep(PLAN_PAUSE * attempt).await;
                }
                planned => return planned,
            }
        }
        self.plan(query).await
    }

    /// The scope, the plan, and the stream that runs it.
    async fn plan(
        self: &Arc<Self>,
        query: &Query,
    ) -> Result<(Planned, SendableRecordBatchStream), QueryError> {
        let (scope, as_of) = self.readers.away(Arc::clone(self).scope()).await?;
        let state = session(&scope, &self.limits, &self.watch, self.began);
        let state = state.map_err(|e| self.error(e))?;
        let stream = self.stream(&state, query).await;
        let stream = stream.map_err(|e| self.error(e))?;
        let schema = stream.schema();
        Ok((Planned { schema, as_of }, stream))
    }

    async fn stream(
        &self,
        state: &SessionState,
        query: &Query,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let plan = state.statement_to_plan(query.statement.clone()).await?;
        guard::plan_options().verify_plan(&plan)?;
        self.watch.check()?;
        complexity::check(&plan)?;
        let plan = if query.explain {
            plan
        } else {
            // One more than is allowed: it shows that there are more.
            LogicalPlanBuilder::from(plan)
                .limit(0, Some(self.max_rows.saturating_add(1)))?
                .build()?
        };
        let plan = state.create_physical_plan(&plan).await?;
        self.watch.check()?;
        execute_stream(room::metered(plan, &self.watch)?, state.task_ctx())
    }

    /// The tenant's files, recalls and hot rows, of one snapshot.
    async fn scope(self: Arc<Self>) -> Result<(Arc<Scope>, DateTime<Utc>), QueryError> {
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
                let hot = HotTier::open(snapshot, self.tenant, keys, limit).await?;
                Some(Arc::new(hot))
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
        query: &Query,
        mut stream: SendableRecordBatchStream,
        send: &mpsc::Sender<RecordBatch>,
    ) -> Result<(), QueryError> {
        let counters = &self.readers.counters;
        let mut rows = 0_usize;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| self.error(e))?;
            rows = rows.saturating_add(batch.num_rows());
            if rows > self.max_rows && !query.explain {
                let limit = self.max_rows;
                return Err(QueryError::TooManyRows { limit });
            }
            counters.rows.store(rows as u64, Ordering::Relaxed);
            if batch.num_rows() > 0 && send.send(batch).await.is_err() {
                return Ok(());
            }
        }
        if query.explain {
            let text = counters.read().explained();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec!["archive"])),
                Arc::new(StringArray::from(vec![text])),
            ];
            let batch = RecordBatch::try_new(stream.schema(), columns)
                .map_err(|e| QueryError::Internal(e.to_string()))?;
            // A reader that has gone does not need it.
            let _ = send.send(batch).await;
        }
        Ok(())
    }

    /// What an error of the engine means: the storage's own failure, ours, or the query's.
    fn error(&self, error: DataFusionError) -> QueryError {
        if let Some(failure) = self.readers.take_failure() {
            return failure.into();
        }
        // Whatever the engine makes of being stopped.
        if let Err(stop) = self.watch.check() {
            return stop.into();
        }
        match carried(error) {
            Ok(own) => own,
            Err(error) => QueryError::of_engine(&error, self.limits.memory),
        }
    }
}
