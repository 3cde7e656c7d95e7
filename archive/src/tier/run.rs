//! A tiering run: which units (months of a tenant) move, under one lock. Some units go side by
//! side, be they of one tenant or of several.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use metrics::counter;
use sheaf_model::bounds::MIN_YEAR;
use sheaf_model::{Period, TenantId};
use sheaf_store::{Job, PLATFORM, Tenant, caught};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ArchiveError;
use crate::run::progress::{Checkpoint, Progress, Silent, Step};
use crate::run::{IDEMPOTENCY_DAYS, LockedRun, Resources, TENANT_PAGE, elapsed_ms, record};
use crate::tier::part::{self, IdRange, PartOutcome};
use crate::tier::summary::{RunOptions, RunSummary, horizon};

/// Units that are worked on side by side: most are small, and their time is that of their round
/// trips. Each holds a row group and a connection.
const CONCURRENCY: usize = 4;

/// The runner of tiering. Cheap to clone.
#[derive(Clone)]
pub struct Tiering {
    resources: Resources,
}

impl Tiering {
    pub(crate) fn new(resources: Resources) -> Self {
        Self { resources }
    }

    /// Reports each step of the protocol to `checkpoint`.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.resources.checkpoint = checkpoint;
        self
    }

    /// One run over all tenants, or over one. What fails is in the summary, and the run goes on
    /// with the next; what has moved has moved wholly.
    ///
    /// # Errors
    /// [`ArchiveError::AlreadyRunning`] when another process runs; [`ArchiveError::LockLost`]; when
    /// the tenants cannot be read.
    pub async fn run(
        &self,
        options: RunOptions,
        progress: &dyn Progress,
    ) -> Result<RunSummary, ArchiveError> {
        let started = Instant::now();
        let horizon = horizon(&options)?;
        let run = self.resources.run(progress).lock(options.tenant).await?;
        run.checkpoint.reached(Step::Locked).await;
        let mut summary = RunSummary {
            dry_run: options.dry_run,
            horizon: horizon.first_day(),
            ..RunSummary::default()
        };
        let units = Units {
            run: &run,
            permits: Semaphore::new(CONCURRENCY),
            horizon,
            dry_run: options.dry_run,
        };
        let outcome = units.all(options.tenant, &mut summary).await;
        run.release();
        summary.elapsed_ms = elapsed_ms(started);
        let all_done = outcome.is_ok() && summary.failures.is_empty();
        let label = if all_done { "done" } else { "failed" };
        counter!("sheaf_tiering_runs_total", "outcome" => label).increment(1);
        if options.tenant.is_none() && !options.dry_run {
            let failed = |(): &()| summary.failures.failed;
            record::record(&self.resources.store, Job::Tier, started, &outcome, failed).await;
        }
        outcome.map(|()| summary)
    }

    /// Runs every `interval` until cancelled, with today's date, and logs what was done. A run that
    /// another process has under way is left to it.
    pub fn spawn_loop(
        &self,
        interval: Duration,
        older_than_months: u32,
        cancel: CancellationToken,
    ) -> JoinHandle<()> {
        let tiering = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let as_of = Utc::now().date_naive();
                let options = RunOptions {
                    as_of,
                    older_than_months,
                    tenant: None,
                    dry_run: false,
                };
                // Dropped in the middle, or ended by a panic, a run leaves what a killed one does:
                // nothing that gc does not collect. The next one comes in its time.
                let run = caught("tiering", tiering.run(options, &Silent));
                let outcome = tokio::select! {
                    () = cancel.cancelled() => return,
                    outcome = Box::pin(run) => outcome,
                };
                let Ok(outcome) = outcome else { continue };
                match outcome {
                    // Each failure was logged when it happened.
                    Ok(summary) => tracing::info!(
                        failed = summary.failures.failed,
                        units = summary.units,
                        invoices = summary.invoices,
                        bytes = summary.bytes,
                        skipped_unsettled = summary.skipped_unsettled,
                        elapsed_ms = summary.elapsed_ms,
                        "tiering run"
                    ),
                    Err(ArchiveError::AlreadyRunning) => {
                        tracing::debug!("tiering runs in another process")
                    }
                    Err(error) => tracing::error!(%error, "tiering run failed"),
                }
            }
        })
    }
}

/// The units of one run.
struct Units<'a> {
    run: &'a LockedRun<'a>,
    permits: Semaphore,
    horizon: Period,
    dry_run: bool,
}

impl Units<'_> {
    async fn all(
        &self,
        only: Option<TenantId>,
        summary: &mut RunSummary,
    ) -> Result<(), ArchiveError> {
        match only {
            Some(tenant) => summary.merge(self.tenant(tenant).await?),
            None => self.tenants(summary).await?,
        }
        if self.dry_run {
            return Ok(());
        }
        self.run.checkpoint.reached(Step::UnitsDone).await;
        self.run.check_lock().await?;
        // Partitions and the platform's keys belong to all tenants: runs of single tenants, which
        // go side by side, leave them alone.
        if only.is_none() {
            self.finish(summary).await?;
        }
        self.run.checkpoint.reached(Step::YearsDropped).await;
        Ok(())
    }

    async fn tenants(&self, summary: &mut RunSummary) -> Result<(), ArchiveError> {
        let mut after = None;
        loop {
            let page = self.run.store.all_tenants_page(after, TENANT_PAGE).await?;
            let Some(Tenant { id: last, .. }) = page.last() else {
                return Ok(());
            };
            after = Some(last.0);
            let runs = page
                .into_iter()
                .map(|tenant| self.tenant(tenant.id).boxed());
            let mut runs = stream::iter(runs).buffer_unordered(CONCURRENCY);
            while let Some(of_tenant) = runs.try_next().await? {
                summary.merge(of_tenant);
            }
        }
    }

    /// What is left to do when all tenants are through.
    async fn finish(&self, summary: &mut RunSummary) -> Result<(), ArchiveError> {
        let store = self.run.store;
        // The year of the horizon and later ones are in use.
        match store.drop_empty_years(MIN_YEAR..self.horizon.year).await {
            Ok(dropped) => summary.years_dropped = dropped,
            Err(error) => {
                let what = "empty years".to_owned();
                summary.failures.note(None, Some(what), error.into())?;
            }
        }
        // No tenant's run finds the platform's own keys.
        match store.sweep_idempotency(PLATFORM, oldest_key()).await {
            Ok(swept) => summary.idempotency_keys_swept += swept,
            Err(error) => {
                let what = "the platform's idempotency keys".to_owned();
                summary.failures.note(None, Some(what), error.into())?;
            }
        }
        Ok(())
    }

    async fn tenant(&self, tenant: TenantId) -> Result<RunSummary, ArchiveError> {
        let mut summary = RunSummary {
            tenants: 1,
            ..RunSummary::default()
        };
        let (end, _) = self.horizon.id_bounds();
        // The first settled id of each month.
        let months = stream::try_unfold(Uuid::nil(), |from| async move {
            let first = self.run.store.next_settled(tenant, from, end).await?;
            Ok::<_, ArchiveError>(first.map(|id| (id, Period::of(id).id_bounds().1)))
        });
        let units = months.map(|first| {
            async move {
                let first = first.map_err(|error| (None, error))?;
                let unit = self.unit(tenant, first).await;
                unit.map_err(|error| (Some(Period::of(first).to_string()), error))
            }
            .boxed()
        });
        let mut units = units.buffer_unordered(CONCURRENCY).boxed();
        while let Some(unit) = units.next().await {
            match unit {
                Ok(unit) => summary.merge(unit),
                Err((what, error)) => summary.failures.note(tenant, what, error)?,
            }
        }
        if let Err(error) = self.finish_tenant(tenant, end, &mut summary).await {
            summary.failures.note(tenant, None, error)?;
        }
        Ok(summary)
    }

    /// What is left to do for a tenant when its months are through.
    async fn finish_tenant(
        &self,
        tenant: TenantId,
        end: Uuid,
        summary: &mut RunSummary,
    ) -> Result<(), ArchiveError> {
        let store = self.run.store;
        summary.skipped_unsettled += store.count_unsettled(tenant, end).await?;
        if !self.dry_run {
            summary.idempotency_keys_swept += store.sweep_idempotency(tenant, oldest_key()).await?;
        }
        Ok(())
    }

    /// Moves what is settled of one month, from its first settled id on, part by part.
    async fn unit(&self, tenant: TenantId, first: Uuid) -> Result<RunSummary, ArchiveError> {
        // The semaphore is never closed, so this is a permit.
        let _permit = self.permits.acquire().await;
        let period = Period::of(first);
        let (_, before) = period.id_bounds();
        self.run.progress.begin(&format!("{tenant} {period}"));
        let mut summary = RunSummary::default();
        let range = |from| IdRange {
            tenant,
            period,
            from,
        };
        if self.dry_run {
            summary.add(&part::count(self.run, range(first)).await?);
        } else {
            let mut next = Some(first);
            while let Some(id) = next {
                let from = move_or_retry(self.run, range(id), &mut summary).await?;
                next = self.run.store.next_settled(tenant, from, before).await?;
            }
        }
        summary.units = u64::from(summary.invoices > 0);
        Ok(summary)
    }
}

/// The time before which idempotency keys have expired.
fn oldest_key() -> chrono::DateTime<Utc> {
    Utc::now() - TimeDelta::days(IDEMPOTENCY_DAYS)
}

/// Moves one part, with a second try when it changed meanwhile. Returns the id to go on from.
async fn move_or_retry(
    run: &LockedRun<'_>,
    range: IdRange,
    summary: &mut RunSummary,
) -> Result<Uuid, ArchiveError> {
    for attempt in 0..2 {
        match part::move_part(run, range).await? {
            PartOutcome::Moved {
                totals,
                bytes,
                last,
            } => {
                summary.parts += 1;
                summary.bytes += bytes;
                summary.add(&totals);
                counter!("sheaf_tiering_invoices_total").increment(totals.invoices);
                counter!("sheaf_tiering_bytes_total").increment(bytes);
                return Ok(after(last));
            }
            PartOutcome::Changed { last, invoices } => {
                counter!("sheaf_tiering_changed_total").increment(1);
                if attempt > 0 {
                    summary.skipped_changed += invoices;
                    return Ok(after(last));
                }
            }
            PartOutcome::Nothing => break,
        }
    }
    // Its settled invoices are gone: another change took them. The search goes on after the first.
    Ok(after(range.from))
}

fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}
