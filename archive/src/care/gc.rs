//! Collects what killed runs and replaced generations leave behind, once nobody can be using it any
//! more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, FileState, Job, Retired, Store};

use crate::ArchiveError;
use crate::care::months::Walk;
use crate::care::verify::tenants;
use crate::object::storage::{ColdStorage, ObjectInfo};
use crate::run::failures::Failures;
use crate::run::progress::{Checkpoint, Progress, Step};
use crate::run::record;

/// The grace unless asked otherwise: longer than any read that still uses a superseded file.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What `gc` did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Attempts that never came to a handover.
    pub staged: u64,
    /// Generations that were replaced.
    pub superseded: u64,
    /// Rows that were garbage already.
    pub garbage: u64,
    /// Objects that no catalog row named.
    pub orphans: u64,
    /// Files that would be collected, but that a legal hold keeps.
    pub held: u64,
    /// Recalls forgotten, because no file holds a copy of the invoice any more.
    pub recalls: u64,
    /// Tenants that could not be gone through: the next run takes them again.
    #[serde(flatten)]
    pub failures: Failures,
    /// Whether this only counted.
    pub dry_run: bool,
}

impl GcReport {
    fn count(&mut self, state: FileState) {
        match state {
            FileState::Staged => self.staged += 1,
            FileState::Superseded => self.superseded += 1,
            FileState::Garbage => self.garbage += 1,
            FileState::Published => {}
        }
    }
}

/// One collection, under the tiering lock: whatever is staged is then no living run's.
pub(crate) struct Gc<'a> {
    pub(crate) store: &'a Store,
    pub(crate) storage: &'a Arc<dyn ColdStorage>,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) grace: Duration,
    pub(crate) dry_run: bool,
}

impl Gc<'_> {
    pub(crate) async fn run(&self, only: Option<TenantId>) -> Result<GcReport, ArchiveError> {
        let started = Instant::now();
        let lock = self
            .store
            .try_lock_tiering(only)
            .await?
            .ok_or(ArchiveError::AlreadyRunning)?;
        let outcome = self.run_locked(only).await;
        lock.release();
        if only.is_none() && !self.dry_run {
            let failed = |report: &GcReport| report.failures.failed;
            record::record(self.store, Job::Gc, started, &outcome, failed).await;
        }
        outcome
    }

    async fn run_locked(&self, only: Option<TenantId>) -> Result<GcReport, ArchiveError> {
        let grace = TimeDelta::from_std(self.grace)
            .map_err(|_| ArchiveError::InvalidRun("the grace is out of range".to_owned()))?;
        let limit = Utc::now()
            .checked_sub_signed(grace)
            .ok_or_else(|| ArchiveError::InvalidRun("the grace is out of range".to_owned()))?;
        let mut report = GcReport {
            dry_run: self.dry_run,
            ..GcReport::default()
        };
        for tenant in tenants(self.store, only).await? {
            self.progress.begin(&format!("tenant {tenant}"));
            if let Err(error) = self.tenant(tenant, limit, &mut report).await {
                report.failures.note(tenant, None, error)?;
            }
        }
        Ok(report)
    }

    async fn tenant(
        &self,
        tenant: TenantId,
        limit: DateTime<Utc>,
        report: &mut GcReport,
    ) -> Result<(), ArchiveError> {
        let settings = self.store.retention(tenant).await?;
        let held = settings.iter().filter(|setting| setting.legal_hold);
        let held: BTreeSet<i16> = held.map(|setting| setting.year).collect();
        let mut walk = Walk::new(self.store, self.storage.as_ref(), tenant);
        while let Some(month) = walk.next().await? {
            // Objects that are looked at: of most there is nothing to collect.
            self.progress.advance(month.objects.len() as u64);
            for object in month.orphans() {
                if is_old(object, limit) && walk.is_orphan(&object.key).await? {
                    self.collect_orphan(object, report).await?;
                }
            }
            for file in &month.files {
                // One that is garbage may have lost its object already, and only its row is left.
                let is_there = || month.objects.iter().any(|o| o.key == file.object_key);
                let is_meant = match file.state {
                    FileState::Superseded => true,
                    FileState::Garbage => was_published(file) && is_there(),
                    FileState::Staged | FileState::Published => false,
                };
                if is_meant && held.contains(&file.period.year) {
                    report.held += 1;
                    continue;
                }
                if file.state == FileState::Garbage && !is_there() {
                    self.forget(file, false, report).await?;
                    continue;
                }
                self.collect_file(file, limit, report).await?;
            }
        }
        // What no file is left to mask, now that its superseded files are gone.
        if !self.dry_run && self.store.has_recalls(tenant).await? {
            report.recalls += self.store.forget_recalls(tenant).await?;
        }
        Ok(())
    }

    async fn collect_orphan(
        &self,
        object: &ObjectInfo,
        report: &mut GcReport,
    ) -> Result<(), ArchiveError> {
        report.orphans += 1;
        if !self.dry_run {
            self.storage.delete(&object.key).await?;
            self.checkpoint.reached(Step::GcObjectDeleted).await;
        }
        Ok(())
    }

    async fn collect_file(
        &self,
        file: &ArchiveFile,
        limit: DateTime<Utc>,
        report: &mut GcReport,
    ) -> Result<(), ArchiveError> {
        let since = match file.state {
            FileState::Published => return Ok(()),
            FileState::Staged => Some(file.staged_at),
            FileState::Superseded => file.superseded_at,
            // Nobody ever read it, or its grace is over already.
            FileState::Garbage => None,
        };
        if since.is_some_and(|since| since > limit) {
            return Ok(());
        }
        if self.dry_run {
            report.count(file.state);
            return Ok(());
        }
        // The row changes first, and only if its state is still what was read: a published file is
        // never touched. What was published once is noted again before each attempt: it may take
        // effect long after it was given up.
        match file.state {
            _ if was_published(file) => match self.store.retire_file(file).await? {
                Retired::Done => {}
                Retired::Changed => return Ok(()),
                Retired::Held => {
                    report.held += 1;
                    return Ok(());
                }
            },
            FileState::Garbage => {}
            _ => {
                if !self.store.mark_garbage(file).await? {
                    return Ok(());
                }
            }
        }
        self.checkpoint.reached(Step::GcMarked).await;
        let delete = self.storage.delete(&file.object_key);
        if was_published(file) {
            // Its year may have been put on hold since the run began, also since the row was
            // marked.
            let (tenant, year) = (file.tenant_id, file.period.year);
            let Some(deleted) = self.store.unless_on_hold(tenant, year, delete).await? else {
                self.store.withdraw_deletion(file).await?;
                report.held += 1;
                return Ok(());
            };
            deleted?;
        } else {
            delete.await?;
        }
        self.checkpoint.reached(Step::GcObjectDeleted).await;
        self.forget(file, true, report).await
    }

    /// The object is gone, `now` or before, and the row goes, if it may.
    async fn forget(
        &self,
        file: &ArchiveFile,
        now: bool,
        report: &mut GcReport,
    ) -> Result<(), ArchiveError> {
        if self.dry_run {
            report.count(file.state);
            return Ok(());
        }
        let is_gone = self.store.forget_file(file).await?;
        // A row that stays was counted when its object was deleted.
        if is_gone || now {
            report.count(file.state);
        }
        Ok(())
    }
}

/// Whether the file was the tier of its invoices once.
fn was_published(file: &ArchiveFile) -> bool {
    file.published_at.is_some()
}

/// An object whose age the storage does not tell is left alone.
fn is_old(object: &ObjectInfo, limit: DateTime<Utc>) -> bool {
    object.last_modified.is_some_and(|written| written <= limit)
}
