//! The job of erasure: every request that is not complete is taken through both tiers, and its
//! receipt says how far it is.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{Cause, ErasureRecord, Held, Origin, Pass, Pending, Retention};
use uuid::Uuid;

use crate::ArchiveError;
use crate::care::erase::{Eraser, Erasure, pending_objects};
use crate::run::failures::Failures;
use crate::run::{IDEMPOTENCY_DAYS, Run, record};

/// Receipts that are read at once.
const PAGE: i64 = 100;

/// How long after a request documents that name the customer can still come in: another process
/// remembers the record for some seconds, and an upload in one transaction commits some time after
/// it has read the record.
const LATE: TimeDelta = TimeDelta::hours(1);

/// The options of a run.
#[derive(Debug, Clone, Copy)]
pub struct ErasureOptions {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// The grace that gc is run with, for the receipts.
    pub grace: Duration,
    /// How far ahead the clock of an API process may be: an answer that it kept then is kept for
    /// that much longer.
    pub clock_skew: Duration,
    /// Now: retention and kept answers end by it.
    pub as_of: DateTime<Utc>,
}

/// The results of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ErasureSummary {
    /// Tenants looked at.
    pub tenants: u64,
    /// Erasures that were open.
    pub erasures: u64,
    /// Those of them that are complete now.
    pub completed: u64,
    /// Those that retention holds.
    pub held: u64,
    /// Archived files that were searched.
    pub files: u64,
    /// Files that were rewritten.
    pub files_rewritten: u64,
    /// Invoices that were changed in them.
    pub invoices: u64,
    /// Erasures that could not go on, and tenants whose could not be read: the next run takes them
    /// again.
    #[serde(flatten)]
    pub failures: Failures,
}

pub(crate) async fn run_erasures(
    run: Run<'_>,
    options: ErasureOptions,
) -> Result<ErasureSummary, ArchiveError> {
    let started = Instant::now();
    let outcome = Box::pin(all(run, options)).await;
    if options.tenant.is_none() {
        let failed = |summary: &ErasureSummary| summary.failures.failed;
        record::record(
            run.store,
            sheaf_store::Job::Erase,
            started,
            &outcome,
            failed,
        )
        .await;
    }
    outcome
}

async fn all(run: Run<'_>, options: ErasureOptions) -> Result<ErasureSummary, ArchiveError> {
    let mut summary = ErasureSummary::default();
    for tenant in run.tenants(options.tenant).await? {
        summary.tenants += 1;
        run.progress.begin(&format!("tenant {tenant}"));
        let of_tenant = tenant_erasures(run, &options, tenant, &mut summary);
        match of_tenant.await {
            // Nothing else was asked for.
            Err(error @ ArchiveError::AlreadyRunning) if options.tenant.is_some() => {
                return Err(error);
            }
            Err(error) => summary.failures.note(tenant, None, error)?,
            Ok(()) => {}
        }
    }
    Ok(summary)
}

async fn tenant_erasures(
    run: Run<'_>,
    options: &ErasureOptions,
    tenant: TenantId,
    summary: &mut ErasureSummary,
) -> Result<(), ArchiveError> {
    let mut after = Uuid::nil();
    loop {
        let open = run.store.open_erasures(tenant, after, PAGE).await?;
        let Some(last) = open.last() else {
            return Ok(());
        };
        after = last.customer_id;
        for erasure in open {
            summary.erasures += 1;
            let job = Job {
                run,
                options,
                tenant,
                erasure: &erasure,
            };
            match job.run().await {
                Ok(pass) => summary.count(&pass),
                Err(error @ ArchiveError::AlreadyRunning) if options.tenant.is_some() => {
                    return Err(error);
                }
                Err(error) => {
                    let customer = format!("customer {}", erasure.customer_id);
                    summary.failures.note(tenant, Some(customer), error)?;
                }
            }
        }
    }
}

impl ErasureSummary {
    fn count(&mut self, pass: &Pass) {
        self.held += u64::from(!pass.held.is_empty());
        self.completed += u64::from(pass.held.is_empty() && pass.pending.is_empty());
        self.files += pass.files;
        self.files_rewritten += pass.files_rewritten;
        self.invoices += pass.invoices;
    }
}

struct Job<'a> {
    run: Run<'a>,
    options: &'a ErasureOptions,
    tenant: TenantId,
    erasure: &'a ErasureRecord,
}

impl Job<'_> {
    /// One pass, and its result in the receipt.
    async fn run(&self) -> Result<Pass, ArchiveError> {
        let settings = self.run.store.retention(self.tenant).await?;
        let pass = self.pass(&settings).await?;
        self.run
            .store
            .record_erasure(self.tenant, self.erasure, &pass, self.options.as_of)
            .await?;
        Ok(pass)
    }

    async fn pass(&self, settings: &[Retention]) -> Result<Pass, ArchiveError> {
        let today = self.options.as_of.date_naive();
        let held = settings.iter().filter(|setting| setting.holds(today));
        let held: Vec<Held> = held.map(Retention::held).collect();
        let is_still_held = |then: &Held| held.iter().any(|held| held.year == then.year);
        let last_late = self.erasure.requested_at + LATE;
        let is_searched = self.erasure.passed_at.is_some_and(|at| at > last_late);
        // What was found to be held is held still: nothing has become free to be erased since the
        // last pass.
        let mut pass = if is_searched && self.erasure.held.iter().all(is_still_held) {
            self.look(&held).await?
        } else {
            self.search(held).await?
        };
        pass.pending.extend(self.kept_answers(&pass).await?);
        Ok(pass)
    }

    /// Goes through both tiers.
    async fn search(&self, held: Vec<Held>) -> Result<Pass, ArchiveError> {
        let customer_id = self.erasure.customer_id;
        let origin = Origin::new(self.erasure.requested_by.as_str(), "erasure");
        let erasure = Erasure {
            tenant: self.tenant,
            customer_id,
            merged: self
                .run
                .store
                .merged_customers(self.tenant, customer_id)
                .await?,
            hot: true,
            grace: self.options.grace,
            histories: true,
            held,
            on: self.options.as_of.date_naive(),
            cause: Cause::new(origin, Utc::now()),
        };
        let run = self.run;
        let receipt = Eraser { run, erasure }.run().await?;
        Ok(Pass {
            files: receipt.files,
            files_rewritten: receipt.files_rewritten,
            invoices: receipt.invoices,
            held: receipt.held,
            pending: receipt.pending,
        })
    }

    /// Looks whether what goes by itself is gone. `held` are the years that are held now.
    async fn look(&self, held: &[Held]) -> Result<Pass, ArchiveError> {
        let found = |held: &&Held| self.erasure.held.iter().any(|then| then.year == held.year);
        Ok(Pass {
            files: self.erasure.cold_files,
            held: held.iter().filter(found).copied().collect(),
            pending: pending_objects(self.run, self.tenant, self.options.grace).await?,
            ..Pass::default()
        })
    }

    /// Answers that are kept for requests that are sent again show the customer as they did at
    /// first: until the last document that showed it was changed, by this pass or an earlier one,
    /// there could be new ones.
    async fn kept_answers(&self, pass: &Pass) -> Result<Option<Pending>, ArchiveError> {
        let age = TimeDelta::days(IDEMPOTENCY_DAYS);
        self.run
            .store
            .sweep_idempotency(self.tenant, self.options.as_of - age)
            .await?;
        let customer = self.erasure.customer_id;
        let now = self.run.store.erasure(self.tenant, customer).await?;
        let changed_hot = now.and_then(|erasure| erasure.changed_at);
        let changed_cold = (pass.files_rewritten > 0).then(Utc::now);
        let last = changed_hot.max(changed_cold);
        // The answers carry the time of the process that gave them.
        let skew = TimeDelta::from_std(self.options.clock_skew).ok();
        let until = last
            .max(Some(self.erasure.requested_at))
            .and_then(|last| last.checked_add_signed(age))
            .zip(skew)
            .and_then(|(until, skew)| until.checked_add_signed(skew))
            .ok_or_else(|| ArchiveError::InvalidRun("the clock skew is out of range".to_owned()))?;
        Ok((until > self.options.as_of).then(|| Pending {
            place: "idempotency_keys".to_owned(),
            until,
        }))
    }
}
