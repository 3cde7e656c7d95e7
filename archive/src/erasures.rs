//! The job of erasure: every request that is not complete is taken through both tiers, and its receipt says how far it is.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{Cause, ErasureRecord, Held, Origin, Pass, Pending, Retention, Store};
use uuid::Uuid;

use crate::progress::Progress;
use crate::tiering::IDEMPOTENCY_DAYS;
use crate::verify::tenants;
use crate::{Archive, ArchiveError, Erasure};

/// Receipts that are read at once.
const PAGE: i64 = 100;

/// What a run is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct ErasureOptions {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// The grace that gc is run with, for the receipts.
    pub grace: Duration,
    /// Now: retention and kept answers end by it.
    pub as_of: DateTime<Utc>,
}

/// What a run did.
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
    /// Files that were written anew.
    pub files_rewritten: u64,
    /// Invoices that were changed in them.
    pub invoices: u64,
}

pub(crate) async fn run(
    archive: &Archive,
    store: &Store,
    options: ErasureOptions,
    progress: &dyn Progress,
) -> Result<ErasureSummary, ArchiveError> {
    let mut summary = ErasureSummary::default();
    for tenant in tenants(store, options.tenant).await? {
        summary.tenants += 1;
        let mut after = Uuid::nil();
        loop {
            let open = store.open_erasures(tenant, after, PAGE).await?;
            let Some(last) = open.last() else { break };
            after = last.customer_id;
            let settings = store.retention(tenant).await?;
            for erasure in open {
                let job = Job {
                    archive,
                    store,
                    options: &options,
                    tenant,
                    erasure: &erasure,
                };
                let pass = job.pass(&settings, progress).await?;
                store
                    .record_erasure(tenant, &erasure, &pass, options.as_of)
                    .await?;
                summary.erasures += 1;
                summary.held += u64::from(!pass.held.is_empty());
                summary.completed += u64::from(pass.held.is_empty() && pass.pending.is_empty());
                summary.files += pass.files;
                summary.files_rewritten += pass.files_rewritten;
                summary.invoices += pass.invoices;
            }
        }
    }
    Ok(summary)
}

struct Job<'a> {
    archive: &'a Archive,
    store: &'a Store,
    options: &'a ErasureOptions,
    tenant: TenantId,
    erasure: &'a ErasureRecord,
}

impl Job<'_> {
    async fn pass(
        &self,
        settings: &[Retention],
        progress: &dyn Progress,
    ) -> Result<Pass, ArchiveError> {
        let today = self.options.as_of.date_naive();
        let held: Vec<Held> = settings
            .iter()
            .filter(|setting| setting.holds(today))
            .map(Retention::held)
            .collect();
        let years: BTreeSet<i16> = held.iter().map(|held| held.year).collect();
        let is_still_held = |then: &Held| years.contains(&then.year);
        let is_searched = self.erasure.passed_at.is_some();
        // What was found to be held is held still: nothing has become free to be erased since the last pass.
        let (mut pass, found) = if is_searched && self.erasure.held.iter().all(is_still_held) {
            self.look().await?
        } else {
            self.search(years, progress).await?
        };
        pass.held = held
            .into_iter()
            .filter(|held| found.contains(&held.year))
            .collect();
        pass.pending.extend(self.kept_answers().await?);
        Ok(pass)
    }

    /// Goes through both tiers. Also returns the years of `held` that hold data.
    async fn search(
        &self,
        held: BTreeSet<i16>,
        progress: &dyn Progress,
    ) -> Result<(Pass, BTreeSet<i16>), ArchiveError> {
        let customer_id = self.erasure.customer_id;
        let origin = Origin::new(self.erasure.requested_by.as_str(), "erasure");
        let erasure = Erasure {
            tenant: self.tenant,
            customer_id,
            merged: self
                .store
                .merged_customers(self.tenant, customer_id)
                .await?,
            hot: true,
            grace: self.options.grace,
            histories: true,
            held,
            cause: Cause::new(origin, Utc::now()),
        };
        let receipt = self.archive.erase_customer(erasure, progress).await?;
        let pass = Pass {
            files: receipt.files,
            files_rewritten: receipt.files_rewritten,
            invoices: receipt.invoices,
            pending: receipt.pending,
            ..Pass::default()
        };
        Ok((pass, receipt.held))
    }

    /// Looks whether what goes by itself is gone.
    async fn look(&self) -> Result<(Pass, BTreeSet<i16>), ArchiveError> {
        let pass = Pass {
            files: self.erasure.cold_files,
            pending: self
                .archive
                .pending_objects(self.tenant, self.options.grace)
                .await?,
            ..Pass::default()
        };
        let held = self.erasure.held.iter().map(|held| held.year);
        Ok((pass, held.collect()))
    }

    /// Answers that are kept for requests that are sent again show the customer as they did at first.
    async fn kept_answers(&self) -> Result<Option<Pending>, ArchiveError> {
        let age = TimeDelta::days(IDEMPOTENCY_DAYS);
        self.store
            .sweep_idempotency(self.tenant, self.options.as_of - age)
            .await?;
        let until = self.erasure.requested_at + age;
        Ok((until > self.options.as_of).then(|| Pending {
            place: "idempotency_keys".to_owned(),
            until,
        }))
    }
}
