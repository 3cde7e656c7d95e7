//! Group commit: single creates wait in their shard's lane and are written together.

use std::sync::Weak;

use tokio::sync::{mpsc, oneshot};

use crate::lanes::Refused;
use crate::plan::Outcome;
use crate::types::{Created, NewInvoice};
use crate::{CreateError, Inner, Store, StoreError};

/// Bounds of one flush. More would only delay the first of them.
const MAX_INVOICES: usize = 512;
const MAX_LINES: usize = 20_000;

/// A create and where its answer goes.
pub(crate) struct Job {
    new: NewInvoice,
    reply: oneshot::Sender<Result<Created, CreateError>>,
}

impl Store {
    /// Stores one invoice. It shares its transaction with the other creates of its shard that arrive meanwhile; the
    /// answer comes after their common commit.
    ///
    /// # Errors
    /// [`CreateError::Busy`] when the shard's queue is full; the conflicts that [`CreateError`] names.
    pub async fn create_invoice(&self, new: NewInvoice) -> Result<Created, CreateError> {
        let shard = self.inner.cluster.shard_of(new.invoice.tenant_id).id;
        let (reply, answer) = oneshot::channel();
        let inner = std::sync::Arc::downgrade(&self.inner);
        self.inner
            .writers
            .submit(shard, Job { new, reply }, |queue| lane(inner, shard, queue))
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

async fn lane(inner: Weak<Inner>, shard: i64, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.recv().await {
        let Some(store) = inner.upgrade().map(|inner| Store { inner }) else {
            return;
        };
        // The permit comes first: what arrives while the node is busy with others joins this flush.
        let node = store.inner.cluster.node_of_shard(shard);
        let Ok(_permit) = node.flushes.acquire().await else {
            return;
        };
        let mut lines = first.new.invoice.lines.len();
        let mut jobs = vec![first];
        while jobs.len() < MAX_INVOICES && lines < MAX_LINES {
            let Ok(job) = queue.try_recv() else { break };
            lines += job.new.invoice.lines.len();
            jobs.push(job);
        }
        metrics::histogram!("sheaf_flush_invoices")
            .record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        flush(&store, shard, jobs).await;
    }
}

async fn flush(store: &Store, shard: i64, jobs: Vec<Job>) {
    let (mut items, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|j| (j.new, j.reply)).unzip();
    match store.write_batch(shard, &mut items).await {
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
    }
}
