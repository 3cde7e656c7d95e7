//! Changes of invoices that exist: payments, issue, credit notes and the rest of their lives, committed in groups.
//!
//! A batch locks its invoices, lets the model's rules decide on each change in turn, and writes what came out, with the
//! events and the answers that retries will get: two round trips and one commit, whatever the number of changes. Many
//! payments on one invoice are one update of it.

mod apply;
mod attempt;
mod command;
mod named;
mod needs;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use futures_util::future::try_join_all;
use sheaf_model::{Invalid, TenantId, id, lifecycle};
use uuid::Uuid;

use crate::error::{Failure, classify};
use crate::flush::Abort;
use crate::queue::{self, Queue};
use crate::types::{ArchiveFile, ColdInvoice, FileKeys, Replay};
use crate::{Inner, Store, StoreError};

pub use command::{Answer, Command, NewChange};

/// Changes of one batch at most: they hold their locks together.
const MAX_CHANGES: usize = 128;
/// Attempts of a batch before it is given up.
const ATTEMPTS: u32 = 8;

/// What a change came to.
#[derive(Clone, Debug)]
pub enum Changed {
    /// Done now.
    New(Answer),
    /// Done before, by the same request.
    Replay(Replay),
}

/// Why a change was not done. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The tenant has no such invoice, in either tier.
    #[error("there is no invoice {0}")]
    NotFound(Uuid),
    /// The state, or another document, forbids it.
    #[error(transparent)]
    Refused(#[from] lifecycle::Refusal),
    /// The document that would come out is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// `If-Match` names another version.
    #[error("the invoice has version {current}")]
    VersionMismatch {
        /// The version that it has.
        current: i64,
    },
    /// The tenant has an invoice with this `external_id` in the same year.
    #[error("external_id is taken by invoice {existing}")]
    DuplicateExternalId {
        /// Its id.
        existing: Uuid,
    },
    /// The tenant has an invoice with this `number` in the same year.
    #[error("number is taken by invoice {existing}")]
    DuplicateNumber {
        /// Its id.
        existing: Uuid,
    },
    /// The tenant has no customer with this `customer_id`.
    #[error("no such customer")]
    CustomerNotFound,
    /// The customer may get no new document: it is not active, was merged or erased.
    #[error("the customer is not active")]
    CustomerInactive,
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdemMismatch,
    /// The request with this idempotency key still runs.
    #[error("a request with this idempotency key is still running")]
    IdemInProgress,
    /// The queue is full.
    #[error("the write queue is full")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Outcome = Result<Changed, ChangeError>;

/// A change and where its answer goes.
pub(crate) type Job = queue::Job<NewChange, Changed, ChangeError>;

impl Store {
    /// Changes one invoice. It shares its transaction with the other changes of its node that arrive meanwhile; the
    /// answer comes after their common commit. An archived invoice is recalled in the same transaction.
    ///
    /// A change is safe to repeat with its idempotency key, also when no answer came.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_invoice(&self, mut change: NewChange) -> Outcome {
        if let Command::Refund(refund) = &change.command
            && let Some(of) = self.corrected(change.tenant_id, change.invoice_id).await?
        {
            let refund = refund.clone();
            change.command = Command::PayOut { refund, of };
        }
        let work = (change.tenant_id, change);
        self.submit(&self.inner.changes, work, serve, ChangeError::Busy)
            .await
    }
}

impl Store {
    /// The invoice that a credit note corrects, in whichever tier the note is: it never becomes another.
    async fn corrected(&self, tenant: TenantId, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        if let Some(note) = self.get_invoice(tenant, id).await? {
            return Ok(note.credits);
        }
        let Some(archive) = self.inner.cold.get() else {
            return Ok(None);
        };
        let found = archive.fetch(tenant, id).await?;
        Ok(found.and_then(|found| found.archived.invoice.credits))
    }
}

async fn serve(inner: Weak<Inner>, queue: Arc<Queue<Job>>) {
    while let Some(jobs) = queue.take(|taken, _| taken < MAX_CHANGES).await {
        let Some(store) = inner.upgrade().map(|inner| Store { inner }) else {
            return;
        };
        metrics::histogram!("sheaf_change_batch")
            .record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        run(&store, jobs).await;
    }
}

async fn run(store: &Store, mut jobs: Vec<Job>) {
    // A stable sort: changes of one invoice keep the order in which they came.
    jobs.sort_by_cached_key(|job| store.inner.cluster.shard_of(job.work.tenant_id).id);
    let (changes, replies): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|job| (job.work, job.reply)).unzip();
    match store.change_batch(&changes).await {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _gone = reply.send(outcome);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a batch of changes failed");
            queue::fail(replies, error);
        }
    }
}

/// What was read of the archive for a batch.
#[derive(Default)]
struct Cold {
    /// Invoices that it may recall: as read, or known to be nowhere.
    invoices: BTreeMap<(TenantId, Uuid), Option<Arc<ColdInvoice>>>,
    /// Keys of files that may have the next numbers of its series.
    numbers: Vec<(ArchiveFile, Arc<FileKeys>)>,
}

impl Store {
    /// Outcomes in the order of the changes, which are sorted by shard.
    pub(crate) async fn change_batch(
        &self,
        changes: &[NewChange],
    ) -> Result<Vec<Outcome>, StoreError> {
        // An edit looks up customers and keys for itself, and fails for itself.
        if changes.len() > 1 && changes.iter().any(NewChange::is_edit) {
            return self
                .changes_apart(changes, |a, b| !a.is_edit() && !b.is_edit())
                .await;
        }
        let mut cold = Cold::default();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let shard = |change: &NewChange| self.inner.cluster.shard_of(change.tenant_id);
            let shards: Vec<_> = changes.iter().map(shard).collect();
            if shards.windows(2).any(|two| two[0].node != two[1].node) {
                let together = |a: &NewChange, b: &NewChange| shard(a).node == shard(b).node;
                return self.changes_apart(changes, together).await;
            }
            // The last invoice of a year may have left, and its partition with it; also while this attempt was made.
            let recalled = cold.invoices.iter().filter(|(_, found)| found.is_some());
            self.ensure_years(
                &recalled
                    .map(|((_, invoice), _)| id::year_of(*invoice))
                    .collect(),
            )
            .await?;
            let failure = match self.attempt_changes(&shards, changes, &cold).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Abort::Cold(missing)) if attempt < ATTEMPTS => {
                    self.fetch_cold(&missing, &mut cold).await?;
                    continue;
                }
                Err(Abort::ArchiveMoved(files)) if attempt < ATTEMPTS => {
                    self.remember_files(files);
                    continue;
                }
                Err(Abort::Numbers(files)) if attempt < ATTEMPTS => {
                    for file in files {
                        let keys = self.keys_of(&file).await?;
                        cold.numbers.push((file, keys));
                    }
                    continue;
                }
                Err(Abort::Cold(_) | Abort::ArchiveMoved(_) | Abort::Numbers(_)) => {
                    return Err(StoreError::Unavailable {
                        detail: "the archive keeps changing".into(),
                    });
                }
                Err(Abort::Store(e @ StoreError::Unavailable { .. })) if attempt < ATTEMPTS => {
                    self.after_failure(Failure::Unavailable, attempt, &e).await;
                    continue;
                }
                Err(Abort::Store(e)) => return Err(e),
                Err(Abort::Db(e)) => e,
            };
            let kind = classify(&failure);
            let several = shards.windows(2).any(|two| two[0].id != two[1].id);
            if kind == Failure::Locked && several {
                let together = |a: &NewChange, b: &NewChange| shard(a).id == shard(b).id;
                return self.changes_apart(changes, together).await;
            }
            if attempt >= ATTEMPTS || matches!(kind, Failure::Fatal | Failure::Timeout) {
                return Err(failure.into());
            }
            if kind == Failure::Unavailable && changes.iter().any(|change| change.idem.is_none()) {
                // The answer to the commit may be what was lost. With a key a second attempt finds it; without one the
                // change could be done twice, and only its client can tell.
                return self.changes_after_loss(changes, failure).await;
            }
            self.after_failure(kind, attempt, &failure).await;
        }
    }

    /// Those with a key are tried again, one by one; the others are answered with what happened.
    async fn changes_after_loss(
        &self,
        changes: &[NewChange],
        failure: tokio_postgres::Error,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            if change.idem.is_some() {
                let alone = std::slice::from_ref(change);
                outcomes.extend(Box::pin(self.change_batch(alone)).await?);
            } else {
                outcomes.push(Err(ChangeError::Store(StoreError::Unavailable {
                    detail: format!("whether the change took effect is unknown: {failure}"),
                })));
            }
        }
        Ok(outcomes)
    }

    async fn changes_apart(
        &self,
        changes: &[NewChange],
        together: impl Fn(&NewChange, &NewChange) -> bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let runs = changes.chunk_by(together);
        let done = try_join_all(runs.map(|run| Box::pin(self.change_batch(run)))).await?;
        Ok(done.into_iter().flatten().collect())
    }

    async fn fetch_cold(
        &self,
        missing: &[(TenantId, Uuid)],
        cold: &mut Cold,
    ) -> Result<(), StoreError> {
        let Some(archive) = self.inner.cold.get() else {
            cold.invoices.extend(missing.iter().map(|key| (*key, None)));
            return Ok(());
        };
        for (tenant, invoice) in missing {
            let found = archive.fetch(*tenant, *invoice).await?;
            cold.invoices
                .insert((*tenant, *invoice), found.map(Arc::new));
        }
        Ok(())
    }
}
