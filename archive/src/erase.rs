//! Erasure: a customer's personal data goes from every archived invoice and its history. Files that hold any are written
//! anew; the old objects are gc's after its grace.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde::Serialize;
use sheaf_model::{Customer, TenantId};
use sheaf_store::{ArchiveFile, Cause, FileState, Pending, Store, is_erased, scrub, scrub_events};
use uuid::Uuid;

use crate::ArchiveError;
use crate::footer::Footer;
use crate::group::GroupData;
use crate::kind::ReadKind;
use crate::objects::Objects;
use crate::progress::{Checkpoint, Progress, Step};
use crate::rewrite::{Outcome, Rewriter, Transform};
use crate::storage::{ColdStorage, StorageError};
use crate::verify::files_of;
use crate::walk::Files;

/// The columns of a customer, which lie side by side.
pub(crate) const CUSTOMER_COLUMNS: [&str; 7] = [
    "customer_id",
    "customer_external_id",
    "customer_name",
    "customer_email",
    "customer_tax_id",
    "customer_address",
    "customer_country",
];
/// Tries of one file that is recalled from while it is written anew.
const ATTEMPTS: usize = 5;

/// Objects that a receipt names, at most.
const MAX_PENDING: usize = 1_000;

/// What is to be erased.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Whose customer.
    pub tenant: TenantId,
    /// The customer's record. Customers that were merged into it are erased by themselves.
    pub customer_id: Uuid,
    /// The grace that gc is run with, for the receipt.
    pub grace: Duration,
    /// Whether histories of other customers' invoices are searched as well: a draft that was this customer's once tells
    /// of it there. Reads the `events` column of all files of the tenant.
    pub histories: bool,
    /// Years of documents that are to stay as they are.
    pub held: BTreeSet<i16>,
    /// Who wants it, in which request.
    pub cause: Cause,
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureReceipt {
    /// Whose customer.
    pub tenant_id: TenantId,
    /// The customer.
    pub customer_id: Uuid,
    /// Files that were searched.
    pub files: u64,
    /// Files that were written anew.
    pub files_rewritten: u64,
    /// Invoices whose document or history held the data.
    pub invoices: u64,
    /// Years of [`Erasure::held`] that hold the data.
    pub held: BTreeSet<i16>,
    /// All objects of the tenant that are nobody's tier any more, and may hold the data until then.
    pub pending: Vec<Pending>,
}

/// One erasure.
pub(crate) struct Eraser<'a> {
    pub(crate) store: &'a Store,
    pub(crate) storage: &'a Arc<dyn ColdStorage>,
    pub(crate) objects: &'a Objects,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) erasure: Erasure,
}

impl Eraser<'_> {
    pub(crate) async fn run(&self) -> Result<ErasureReceipt, ArchiveError> {
        let grace = TimeDelta::from_std(self.erasure.grace)
            .map_err(|_| ArchiveError::InvalidRun("the grace is out of range".to_owned()))?;
        let lock = self
            .store
            .try_lock_tiering(Some(self.erasure.tenant))
            .await?
            .ok_or(ArchiveError::AlreadyRunning)?;
        self.checkpoint.reached(Step::Locked).await;
        let rewriter = Rewriter {
            store: self.store,
            storage: self.storage,
            lock: &lock,
            checkpoint: self.checkpoint,
            progress: self.progress,
        };
        let outcome = self.erase(&rewriter, grace).await;
        lock.release();
        outcome
    }

    async fn erase(
        &self,
        rewriter: &Rewriter<'_>,
        grace: TimeDelta,
    ) -> Result<ErasureReceipt, ArchiveError> {
        let (tenant, customer_id) = (self.erasure.tenant, self.erasure.customer_id);
        let mut receipt = ErasureReceipt {
            tenant_id: tenant,
            customer_id,
            files: 0,
            files_rewritten: 0,
            invoices: 0,
            held: BTreeSet::new(),
            pending: Vec::new(),
        };
        let cause = self.erasure.cause.clone();
        let transform: Transform = Arc::new(move |row| scrub(row, customer_id, &cause));
        let mut files = Files::new(self.store, tenant, &[FileState::Published]);
        loop {
            let month = files.next_month().await?;
            if month.is_empty() {
                break;
            }
            for file in month {
                self.progress.begin(&file.object_key);
                receipt.files += 1;
                let year = file.period.year;
                let is_held = self.erasure.held.contains(&year);
                // One file of a held year is enough to tell.
                if is_held && receipt.held.contains(&year) {
                    continue;
                }
                if !ReadKind::Rewrite.scope(self.holds(&file)).await? {
                    continue;
                }
                if is_held {
                    receipt.held.insert(year);
                } else {
                    receipt.invoices += rewrite(rewriter, &file, &transform).await?;
                    receipt.files_rewritten += 1;
                }
            }
        }
        receipt.pending = self.pending(grace).await?;
        Ok(receipt)
    }

    /// The tenant's objects that are there, and nobody's tier.
    async fn pending(&self, grace: TimeDelta) -> Result<Vec<Pending>, ArchiveError> {
        let unpublished = [FileState::Staged, FileState::Superseded, FileState::Garbage];
        let mut pending = Vec::new();
        for file in files_of(self.store, self.erasure.tenant, &unpublished).await? {
            let since = match file.state {
                FileState::Superseded => file.superseded_at,
                FileState::Garbage => None,
                FileState::Staged | FileState::Published => Some(file.staged_at),
            };
            let until = since.and_then(|since| since.checked_add_signed(grace));
            match self.storage.head(&file.object_key).await {
                Ok(object) => pending.push(Pending {
                    place: object.key,
                    until: until.unwrap_or_else(Utc::now),
                }),
                Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Those that stay the longest tell when the others are gone as well.
        pending.sort_by_key(|object| std::cmp::Reverse(object.until));
        pending.truncate(MAX_PENDING);
        Ok(pending)
    }

    /// Whether a file holds personal data of the customer, be it in a copy that is out of date.
    async fn holds(&self, file: &ArchiveFile) -> Result<bool, ArchiveError> {
        let footer = self.objects.footer(file).await?;
        let id = self.erasure.customer_id.to_string();
        for group in 0..footer.groups.len() {
            let is_owner = self
                .objects
                .may_hold(&footer, group, "customer_id", &id)
                .await?;
            if is_owner && self.holds_customer(&footer, group).await? {
                return Ok(true);
            }
            if self.erasure.histories && self.holds_history(&footer, group).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn columns(
        &self,
        footer: &Arc<Footer>,
        group: usize,
        names: &[&str],
    ) -> Result<GroupData, ArchiveError> {
        let range = footer.column_range(group, names)?;
        let base = range.start;
        let bytes = self.objects.chunks(footer, group, range).await?;
        Ok(GroupData::new(Arc::clone(footer), group, bytes, base))
    }

    async fn holds_customer(
        &self,
        footer: &Arc<Footer>,
        group: usize,
    ) -> Result<bool, ArchiveError> {
        let data = self.columns(footer, group, &CUSTOMER_COLUMNS).await?;
        let id = self.erasure.customer_id;
        let search = move || {
            let mut found = false;
            data.customers(|of: Option<Uuid>, customer: Option<Customer>| {
                found |= of == Some(id) && customer.is_some_and(|c| !is_erased(&c));
            })
            .map(|()| found)
        };
        tokio::task::spawn_blocking(search).await?
    }

    async fn holds_history(
        &self,
        footer: &Arc<Footer>,
        group: usize,
    ) -> Result<bool, ArchiveError> {
        let data = self.columns(footer, group, &["events"]).await?;
        let id = self.erasure.customer_id;
        let search = move || {
            let mut found = false;
            data.histories(&id.to_string(), |mut events| {
                found |= scrub_events(&mut events, None, id);
            })
            .map(|()| found)
        };
        tokio::task::spawn_blocking(search).await?
    }
}

/// Writes a file anew, and whatever took its place when it is replaced by somebody else meanwhile is found by a rerun.
/// Returns the invoices that held the data.
async fn rewrite(
    rewriter: &Rewriter<'_>,
    file: &ArchiveFile,
    transform: &Transform,
) -> Result<u64, ArchiveError> {
    for _ in 0..ATTEMPTS {
        let outcome = rewriter
            .rewrite(std::slice::from_ref(file), Some(Arc::clone(transform)))
            .await?;
        if let Outcome::Done(done) = outcome {
            return Ok(done.touched);
        }
    }
    let detail = format!(
        "{} is recalled from all the time; ask again",
        file.object_key
    );
    Err(ArchiveError::InvalidRun(detail))
}
