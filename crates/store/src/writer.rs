//! Group commit: single creates wait in their node's queue and are written together.

use std::sync::{Arc, Weak};

use sheaf_model::id;

use crate::plan::Outcome;
use crate::queue::{self, Queue};
use crate::types::{Created, NewInvoice};
use crate::{CreateError, Inner, Store};

/// Bounds of one flush. More would only delay the first of them.
const MAX_INVOICES: usize = 256;
const MAX_LINES: usize = 20_000;

/// A create and where its answer goes.
pub(crate) type Job = queue::Job<NewInvoice, Created, CreateError>;

impl Store {
    /// Stores one invoice. It shares its transaction with the other creates of its node that arrive meanwhile; the
    /// answer comes after their common commit.
    ///
    /// # Errors
    /// [`CreateError::Busy`] when the node's queue, or the tenant's share of it, is full;
    /// [`StoreError::Unavailable`] at once while the node is down; the conflicts that [`CreateError`] names.
    pub async fn create_invoice(&self, new: NewInvoice) -> Result<Created, CreateError> {
        // Before the queue, where it would keep others waiting.
        self.ensure_year(id::year_of(new.invoice.id)).await?;
        let work = (new.invoice.tenant_id, new);
        self.submit(&self.inner.writers, work, serve, CreateError::Busy)
            .await
    }
}

async fn serve(inner: Weak<Inner>, queue: Arc<Queue<Job>>) {
    loop {
        let mut lines = 0;
        let fits = |taken: usize, job: &Job| {
            lines += job.work.invoice.lines.len();
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
    jobs.sort_by_cached_key(|job| store.inner.cluster.shard_of(job.work.invoice.tenant_id).id);
    let (mut items, replies): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|j| (j.work, j.reply)).unzip();
    match store.write_batch(&mut items).await {
        Ok(outcomes) => {
            for ((new, reply), outcome) in items.into_iter().zip(replies).zip(outcomes) {
                let _gone = reply.send(answer(new, outcome));
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a flush failed");
            queue::fail(replies, error);
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
