//! What runs over the archive work with, and the lock that they hold.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use sheaf_model::TenantId;
use sheaf_store::{Store, TieringLock};

use crate::ArchiveError;
use crate::object::cache::Objects;
use crate::object::storage::ColdStorage;
use crate::run::progress::{Checkpoint, Progress};

/// Tenants that are read at once.
pub(crate) const TENANT_PAGE: usize = 500;
/// Days for which idempotency keys are kept.
pub(crate) const IDEMPOTENCY_DAYS: i64 = 7;

/// What all runs over the archive share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Resources {
    pub(crate) store: Store,
    pub(crate) storage: Arc<dyn ColdStorage>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
}

impl Resources {
    /// A run whose progress is reported to `progress`.
    pub(crate) fn run<'a>(&'a self, progress: &'a dyn Progress) -> Run<'a> {
        Run {
            store: &self.store,
            storage: self.storage.as_ref(),
            objects: &self.objects,
            checkpoint: self.checkpoint.as_ref(),
            progress,
        }
    }
}

/// One run: of tiering, of gc, of verify, and so on.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) store: &'a Store,
    pub(crate) storage: &'a dyn ColdStorage,
    pub(crate) objects: &'a Objects,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Run<'a> {
    /// Takes the lock under which files are published and collected: that of one tenant, or that
    /// of all.
    pub(crate) async fn lock(self, only: Option<TenantId>) -> Result<LockedRun<'a>, ArchiveError> {
        let lock = self.store.try_lock_tiering(only).await?;
        let lock = lock.ok_or(ArchiveError::AlreadyRunning)?;
        Ok(LockedRun { run: self, lock })
    }

    /// The given tenant, or all of them, by id.
    pub(crate) async fn tenants(
        &self,
        only: Option<TenantId>,
    ) -> Result<Vec<TenantId>, ArchiveError> {
        if let Some(tenant) = only {
            return Ok(vec![tenant]);
        }
        let mut tenants: Vec<TenantId> = Vec::new();
        loop {
            let after = tenants.last().map(|last| last.0);
            let page = self.store.all_tenants_page(after, TENANT_PAGE).await?;
            if page.is_empty() {
                return Ok(tenants);
            }
            tenants.extend(page.into_iter().map(|tenant| tenant.id));
        }
    }
}

/// A run that holds the lock.
pub(crate) struct LockedRun<'a> {
    run: Run<'a>,
    lock: TieringLock,
}

impl LockedRun<'_> {
    /// Whether the lock is still this run's: asked before each handover.
    pub(crate) async fn check_lock(&self) -> Result<(), ArchiveError> {
        match self.lock.still_held().await {
            true => Ok(()),
            false => Err(ArchiveError::LockLost),
        }
    }

    /// Gives the lock back.
    pub(crate) fn release(self) {
        self.lock.release();
    }
}

impl<'a> Deref for LockedRun<'a> {
    type Target = Run<'a>;

    fn deref(&self) -> &Self::Target {
        &self.run
    }
}

/// Milliseconds since a run started, for its summary.
pub(crate) fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
