//! A tiering run: which units move, under one lock. Some units go side by side, be they of one
//! tenant or of several.

pub(crate) mod part;
pub(crate) mod read_back;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Datelike, Months, NaiveDate, TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use metrics::counter;
use serde::Serialize;
use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use sheaf_model::{Period, TenantId};
use sheaf_store::{Job, PLATFORM, Store, Tenant, caught};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::totals::Totals;
use crate::object::storage::ColdStorage;
use crate::run::failures::Failures;
use crate::run::progress::{Checkpoint, Pass, Progress, Silent, Step};
use crate::run::record;
use crate::tier::part::{PartOutcome, Protocol, Stretch};

/// Tenants that are read at once.
pub(crate) const TENANT_PAGE: usize = 500;
/// Units that are worked on side by side: most are small, and their time is that of their round
/// trips. Each lane holds a row group and a connection.
const LANES: usize = 4;
/// Idempotency keys live so long.
pub(crate) const IDEMPOTENCY_DAYS: i64 = 7;
/// Largest horizon, in months.
const MAX_MONTHS: u32 = 12 * 230;

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The day to count from.
    pub as_of: NaiveDate,
    /// Settled invoices move when their whole month lies before the month of the day so many months
    /// earlier.
    pub older_than_months: u32,
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Count only; change nothing.
    pub dry_run: bool,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Months of tenants of which something moved.
    pub units: u64,
    /// Objects written and published.
    pub parts: u64,
    /// Invoices moved.
    pub invoices: u64,
    /// Their lines.
    pub lines: u64,
    /// Their payments.
    pub payments: u64,
    /// Their events.
    pub events: u64,
    /// Size of the objects.
    pub bytes: u64,
    /// Invoices older than the horizon that stay, because something is owed on them.
    pub skipped_unsettled: u64,
    /// Invoices that stay for a later run, because one of their part changed twice while it was
    /// written.
    pub skipped_changed: u64,
    /// Year partitions that were empty everywhere and are gone.
    pub years_dropped: Vec<i16>,
    /// Expired idempotency keys that are gone.
    pub idempotency_keys_swept: u64,
    /// Tenants looked at.
    pub tenants: u64,
    /// Whether this only counted.
    pub dry_run: bool,
    /// First day that stays hot.
    pub horizon: NaiveDate,
    /// Months of tenants that could not be moved: the next run takes them again.
    #[serde(flatten)]
    pub failures: Failures,
    /// Milliseconds.
    pub elapsed_ms: u64,
}

impl RunSummary {
    fn add(&mut self, totals: &Totals) {
        self.invoices += totals.invoices;
        self.lines += totals.lines;
        self.payments += totals.payments;
        self.events += totals.events;
    }

    /// Adds what was done for other tenants and months.
    fn merge(&mut self, other: Self) {
        self.units += other.units;
        self.parts += other.parts;
        self.invoices += other.invoices;
        self.lines += other.lines;
        self.payments += other.payments;
        self.events += other.events;
        self.bytes += other.bytes;
        self.skipped_unsettled += other.skipped_unsettled;
        self.skipped_changed += other.skipped_changed;
        self.idempotency_keys_swept += other.idempotency_keys_swept;
        self.tenants += other.tenants;
        self.failures.merge(other.failures);
    }
}

/// The month that holds the horizon: earlier months move.
///
/// # Errors
/// The date lies outside of what ids carry.
fn horizon(options: &RunOptions) -> Result<Period, ArchiveError> {
    let invalid = || ArchiveError::InvalidRun("the horizon is out of range".to_owned());
    if options.older_than_months > MAX_MONTHS {
        return Err(invalid());
    }
    let day = options
        .as_of
        .checked_sub_months(Months::new(options.older_than_months))
        .ok_or_else(invalid)?;
    let years = i32::from(MIN_YEAR)..=i32::from(MAX_YEAR);
    if !years.contains(&day.year()) {
        return Err(invalid());
    }
    Ok(Period::of_date(day))
}

/// Runs tiering. Cheap to clone.
#[derive(Clone)]
pub struct Tiering {
    store: Store,
    storage: Arc<dyn ColdStorage>,
    checkpoint: Arc<dyn Checkpoint>,
}

impl Tiering {
    pub(crate) fn new(store: Store, storage: Arc<dyn ColdStorage>) -> Self {
        Self {
            store,
            storage,
            checkpoint: Arc::new(Pass),
        }
    }

    /// Tells `checkpoint` of each step of the protocol.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.checkpoint = checkpoint;
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
        let lock = self
            .store
            .try_lock_tiering(options.tenant)
            .await?
            .ok_or(ArchiveError::AlreadyRunning)?;
        self.checkpoint.reached(Step::Locked).await;
        let protocol = Protocol {
            store: &self.store,
            storage: &self.storage,
            lock: &lock,
            checkpoint: self.checkpoint.as_ref(),
            progress,
        };
        let mut summary = RunSummary {
            dry_run: options.dry_run,
            horizon: horizon.first_day(),
            ..RunSummary::default()
        };
        let outcome = self
            .run_locked(&protocol, &options, horizon, &mut summary)
            .await;
        lock.release();
        summary.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let all_done = outcome.is_ok() && summary.failures.is_empty();
        let label = if all_done { "done" } else { "failed" };
        counter!("sheaf_tiering_runs_total", "outcome" => label).increment(1);
        if options.tenant.is_none() && !options.dry_run {
            let failed = |(): &()| summary.failures.failed;
            record::record(&self.store, Job::Tier, started, &outcome, failed).await;
        }
        outcome.map(|()| summary)
    }

    async fn run_locked(
        &self,
        protocol: &Protocol<'_>,
        options: &RunOptions,
        horizon: Period,
        summary: &mut RunSummary,
    ) -> Result<(), ArchiveError> {
        let lanes = Semaphore::new(LANES);
        match options.tenant {
            Some(tenant) => {
                let run = self.run_tenant(protocol, &lanes, tenant, horizon, options.dry_run);
                summary.merge(run.await?);
            }
            None => {
                let mut after = None;
                loop {
                    let page = self.store.all_tenants_page(after, TENANT_PAGE).await?;
                    let Some(Tenant { id: last, .. }) = page.last() else {
                        break;
                    };
                    after = Some(last.0);
                    let dry_run = options.dry_run;
                    let runs = page.into_iter().map(|tenant| {
                        self.run_tenant(protocol, &lanes, tenant.id, horizon, dry_run)
                            .boxed()
                    });
                    let mut runs = stream::iter(runs).buffer_unordered(LANES);
                    while let Some(run) = runs.try_next().await? {
                        summary.merge(run);
                    }
                }
            }
        }
        if options.dry_run {
            return Ok(());
        }
        self.checkpoint.reached(Step::UnitsDone).await;
        // 6. Partitions belong to all tenants; the year of the horizon and later ones are in use.
        if !protocol.lock.still_held().await {
            return Err(ArchiveError::LockLost);
        }
        // Partitions are everybody's: runs of single tenants, which go side by side, leave them
        // alone.
        if options.tenant.is_none() {
            match self.store.drop_empty_years(MIN_YEAR..horizon.year).await {
                Ok(dropped) => summary.years_dropped = dropped,
                Err(error) => {
                    let what = "empty years".to_owned();
                    summary.failures.note(None, Some(what), error.into())?;
                }
            }
            // No tenant's run finds the platform's own keys.
            let oldest = Utc::now() - TimeDelta::days(IDEMPOTENCY_DAYS);
            match self.store.sweep_idempotency(PLATFORM, oldest).await {
                Ok(swept) => summary.idempotency_keys_swept += swept,
                Err(error) => {
                    let what = "the platform's idempotency keys".to_owned();
                    summary.failures.note(None, Some(what), error.into())?;
                }
            }
        }
        self.checkpoint.reached(Step::YearsDropped).await;
        Ok(())
    }

    async fn run_tenant(
        &self,
        protocol: &Protocol<'_>,
        lanes: &Semaphore,
        tenant: TenantId,
        horizon: Period,
        dry_run: bool,
    ) -> Result<RunSummary, ArchiveError> {
        let mut summary = RunSummary {
            tenants: 1,
            ..RunSummary::default()
        };
        let (end, _) = horizon.id_bounds();
        // The first settled id of each month.
        let months = stream::try_unfold(Uuid::nil(), |from| async move {
            let first = self.store.next_settled(tenant, from, end).await?;
            Ok::<_, ArchiveError>(first.map(|id| (id, Period::of(id).id_bounds().1)))
        });
        let units = months.map(|first| {
            async move {
                let first = first.map_err(|error| (None, error))?;
                let unit = self.run_unit(protocol, lanes, tenant, first, dry_run);
                unit.await
                    .map_err(|error| (Some(Period::of(first).to_string()), error))
            }
            .boxed()
        });
        let mut units = units.buffer_unordered(LANES).boxed();
        while let Some(unit) = units.next().await {
            match unit {
                Ok(unit) => summary.merge(unit),
                Err((what, error)) => summary.failures.note(tenant, what, error)?,
            }
        }
        if let Err(error) = self.finish_tenant(tenant, end, dry_run, &mut summary).await {
            summary.failures.note(tenant, None, error)?;
        }
        Ok(summary)
    }

    /// What is left to do for a tenant when its months are through.
    async fn finish_tenant(
        &self,
        tenant: TenantId,
        end: Uuid,
        dry_run: bool,
        summary: &mut RunSummary,
    ) -> Result<(), ArchiveError> {
        summary.skipped_unsettled += self.store.count_unsettled(tenant, end).await?;
        if !dry_run {
            let oldest = Utc::now() - TimeDelta::days(IDEMPOTENCY_DAYS);
            summary.idempotency_keys_swept += self.store.sweep_idempotency(tenant, oldest).await?;
        }
        Ok(())
    }

    /// Moves what is settled of one month, from its first settled id on, part by part.
    async fn run_unit(
        &self,
        protocol: &Protocol<'_>,
        lanes: &Semaphore,
        tenant: TenantId,
        first: Uuid,
        dry_run: bool,
    ) -> Result<RunSummary, ArchiveError> {
        // Nobody closes it, so this is a permit.
        let _lane = lanes.acquire().await;
        let period = Period::of(first);
        let (_, before) = period.id_bounds();
        protocol.progress.begin(&format!("{tenant} {period}"));
        let mut summary = RunSummary::default();
        let stretch = |from| Stretch {
            tenant,
            period,
            from,
        };
        if dry_run {
            summary.add(&protocol.count(stretch(first)).await?);
        } else {
            let mut next = Some(first);
            while let Some(id) = next {
                let from = move_or_retry(protocol, stretch(id), &mut summary).await?;
                next = self.store.next_settled(tenant, from, before).await?;
            }
        }
        summary.units = u64::from(summary.invoices > 0);
        Ok(summary)
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
                    // What failed was told when it did.
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

/// Moves one part, with a second try when it changed meanwhile. Answers where to go on.
async fn move_or_retry(
    protocol: &Protocol<'_>,
    stretch: Stretch,
    summary: &mut RunSummary,
) -> Result<Uuid, ArchiveError> {
    for attempt in 0..2 {
        match protocol.move_part(stretch).await? {
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
    // Its settled invoices are gone: another change took them. Past the first one, the search goes
    // on.
    Ok(after(stretch.from))
}

fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(as_of: &str, older_than_months: u32) -> RunOptions {
        RunOptions {
            as_of: as_of.parse().unwrap(),
            older_than_months,
            tenant: None,
            dry_run: false,
        }
    }

    #[test]
    fn the_month_of_the_horizon_stays_hot() {
        assert_eq!(
            horizon(&options("2026-11-20", 12)).unwrap(),
            Period {
                year: 2025,
                month: 11
            }
        );
        assert_eq!(
            horizon(&options("2024-02-29", 12)).unwrap(),
            Period {
                year: 2023,
                month: 2
            }
        );
        assert_eq!(
            horizon(&options("2024-03-31", 0)).unwrap(),
            Period {
                year: 2024,
                month: 3
            }
        );
    }

    #[test]
    fn a_horizon_that_no_id_can_carry_is_refused() {
        assert!(matches!(
            horizon(&options("1970-06-01", 12)),
            Err(ArchiveError::InvalidRun(_))
        ));
        assert!(matches!(
            horizon(&options("2024-06-01", u32::MAX)),
            Err(ArchiveError::InvalidRun(_))
        ));
    }
}
