//! Group commit: single creates wait in their node's queue and are written together.

use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use crate::plan::Outcome;
use crate::queue::{Queue, Refused};
use crate::types::{Created, NewInvoice};
use crate::{CreateError, Inner, Store, StoreError};

/// Bounds of one flush. More would only delay the first of them.
const MAX_INVOICES: usize = 256;
const MAX_LINES: usize = 20_000;

/// A create and where its answer goes.
pub(crate) struct Job {
    new: NewInvoice,
    reply: oneshot::Sender<Result<Created, CreateError>>,
}

impl Store {
    /// Stores one invoice. It shares its transaction with the other creates of its node that arrive meanwhile; the
    /// answer comes after their common commit.
    ///
    /// # Errors
    /// [`CreateError::Busy`] when the node's queue, or the tenant's share of it, is full;
    /// [`StoreError::Unavailable`] at once while the node is down; the conflicts that [`CreateError`] names.
    pub async fn create_invoice(&self, new: NewInvoice) -> Result<Created, CreateError> {
        let tenant = new.invoice.tenant_id;
        let (reply, answer) = oneshot::channel();
        let addr = &self.inner.cluster.shard_of(tenant).node;
        self.inner.cluster.node(addr).check()?;
        let inner = Arc::downgrade(&self.inner);
        self.inner
            .writers
            .submit(addr, tenant, Job { new, reply }, |queue| {
                serve(inner.clone(), queue)
            })
            .map_err(|e| match e {
                Refused::Full => CreateError::Busy,
                Refused::Closed => CreateError::Store(closing()),
            })?;
        answer.await.unwrap_or_else(|_| Err(closing().into()))
    }
}

fn closing() -> StoreError {
    StoreError::Unavailable {
        detail: "the store is closing".into(),
    }
}

async fn serve(inner: Weak<Inner>, queue: Arc<Queue<Job>>) {
    loop {
        let mut lines = 0;
        let fits = |taken: usize, job: &Job| {
            lines += job.new.invoice.lines.len();
            taken < MAX_INVOICES && lines <= MAX_LINES
        };
        let Some(jobs) = queue.take(fits).await else {
            return;
        };
        let Some(store) = inner.upgrade().map(|inner| Store { inner }) else {
            return;
        };
        metrics::histogram!("sheaf_flush_invoices")
            .record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        flush(&store, jobs).await;
    }
}

async fn flush(store: &Store, mut jobs: Vec<Job>) {
    jobs.sort_by_cached_key(|job| store.inner.cluster.shard_of(job.new.invoice.tenant_id).id);
    let (mut items, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|j| (j.new, j.reply)).unzip();
    match store.write_batch(&mut items).await {
        Ok(outcomes) => {
            for ((new, reply), outcome) in items.into_iter().zip(replies).zip(outcomes) {
                // A caller that has gone away does not undo its create.
                let _gone = reply.send(answer(new, outcome));
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a flush failed");
            let detail = error.to_string();
            let mut first = Some(error);
            for reply in replies {
                let error = first.take().unwrap_or_else(|| StoreError::Unavailable {
                    detail: detail.clone(),
                });
                let _gone = reply.send(Err(error.into()));
            }
        }
    }
}

fn answer(new: NewInvoice, outcome: Outcome) -> Result<Created, CreateError> {
    match outcome {
        Outcome::Created => Ok(Created::New(Box::new(new.invoice))),
        Outcome::Replay(replay) => Ok(Created::Replay(replay)),
        Outcome::IdemMismatch => Err(CreateError::IdemMismatch),
        Outcome::IdemInProgress => Err(CreateError::IdemInProgress),
        Outcome::DuplicateExternalId(existing) => {
            Err(CreateError::DuplicateExternalId { existing })
        }
        Outcome::DuplicateNumber(existing) => Err(CreateError::DuplicateNumber { existing }),
        Outcome::DuplicateId => Err(CreateError::DuplicateId),
        Outcome::CustomerNotFound => Err(CreateError::CustomerNotFound),
        Outcome::CustomerInactive => Err(CreateError::CustomerInactive),
    }
}
