//! Bulk: chunks of an upload, written shard by shard; and uploads that land as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::{Object, Transaction};
use futures_util::{StreamExt, TryStreamExt, stream};
use sheaf_model::{TenantId, id};
use tokio::sync::{mpsc, oneshot};

use crate::flush::Abort;
use crate::plan::{CustomerRef, Outcome};
use crate::types::{LineOutcome, NewInvoice};
use crate::{Store, StoreError};

/// Shards of one chunk that are written at the same time.
const CONCURRENT_SHARDS: usize = 4;

impl Store {
    /// Writes a chunk of an upload, one transaction a shard. Outcomes come in the order of the chunk.
    ///
    /// # Errors
    /// When the database fails. Shards that were written before stay written; sending the chunk again finds them.
    pub async fn write_chunk(
        &self,
        chunk: Vec<NewInvoice>,
    ) -> Result<Vec<LineOutcome>, StoreError> {
        let total = chunk.len();
        let mut shards: BTreeMap<i64, (Vec<usize>, Vec<NewInvoice>)> = BTreeMap::new();
        for (index, new) in chunk.into_iter().enumerate() {
            let shard = self.inner.cluster.shard_of(new.invoice.tenant_id).id;
            let (indexes, items) = shards.entry(shard).or_default();
            indexes.push(index);
            items.push(new);
        }
        let written: Vec<(Vec<usize>, Vec<LineOutcome>)> = stream::iter(shards)
            .map(|(shard, (indexes, mut items))| async move {
                let outcomes = self.write_batch(shard, &mut items).await?;
                let lines = items
                    .iter()
                    .zip(outcomes)
                    .map(|(n, o)| line_outcome(n, o))
                    .collect();
                Ok::<_, StoreError>((indexes, lines))
            })
            .buffer_unordered(CONCURRENT_SHARDS)
            .try_collect()
            .await?;
        let mut outcomes = vec![LineOutcome::Created; total];
        for (index, outcome) in written.into_iter().flat_map(|(i, o)| i.into_iter().zip(o)) {
            outcomes[index] = outcome;
        }
        Ok(outcomes)
    }

    /// Begins an upload that lands as a whole. With one tenant it is a transaction of its owner node; with several it
    /// goes through the coordinator, where Citus commits in two phases: the only place that does.
    /// Partitions of `years` are made first, because DDL would wait for the transaction that it serves.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_atomic(
        &self,
        tenant: Option<TenantId>,
        years: &BTreeSet<i16>,
    ) -> Result<AtomicUpload, StoreError> {
        self.ensure_years(years).await?;
        let node = match tenant {
            Some(tenant) => self.inner.cluster.owner(tenant),
            None => self.inner.cluster.coordinator(),
        };
        let conn = node.get().await?;
        let (commands, queue) = mpsc::channel(1);
        tokio::spawn(transaction(self.clone(), conn, queue));
        Ok(AtomicUpload { commands })
    }
}

/// An open transaction of an atomic upload. Dropped without [`AtomicUpload::commit`], it leaves nothing behind.
///
/// The transaction lives in a task of its own, which ends when this handle does.
pub struct AtomicUpload {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Write(
        Vec<NewInvoice>,
        oneshot::Sender<Result<Vec<LineOutcome>, StoreError>>,
    ),
    Commit(oneshot::Sender<Result<(), StoreError>>),
}

impl AtomicUpload {
    /// Writes the next chunk inside the upload's transaction. After an error nothing but dropping the upload is left.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also where a concurrent write got in between: the upload may be sent again.
    pub async fn write(&mut self, chunk: Vec<NewInvoice>) -> Result<Vec<LineOutcome>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Write(chunk, reply))
            .await
            .map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }

    /// Makes everything written visible, at once.
    ///
    /// # Errors
    /// When the commit failed or its outcome is unknown: the upload may be sent again.
    pub async fn commit(self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Commit(reply))
            .await
            .map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }

    /// Gives everything up. Dropping the handle does the same.
    pub fn rollback(self) {}
}

fn lost() -> StoreError {
    StoreError::Unavailable {
        detail: "the upload's transaction is gone".into(),
    }
}

/// Runs an upload's transaction until its handle commits it or goes away.
async fn transaction(store: Store, mut conn: Object, mut commands: mpsc::Receiver<Command>) {
    let mut tx = match conn.transaction().await {
        Ok(tx) => tx,
        Err(error) => return tracing::warn!(%error, "an atomic upload could not begin"),
    };
    while let Some(command) = commands.recv().await {
        match command {
            Command::Write(chunk, reply) => {
                let result = write_chunk_in(&store, &mut tx, chunk).await;
                let failed = result.is_err();
                let _gone = reply.send(result);
                if failed {
                    return;
                }
            }
            Command::Commit(reply) => {
                let _gone = reply.send(tx.commit().await.map_err(StoreError::from));
                return;
            }
        }
    }
}

async fn write_chunk_in(
    store: &Store,
    tx: &mut Transaction<'_>,
    mut chunk: Vec<NewInvoice>,
) -> Result<Vec<LineOutcome>, StoreError> {
    let refs: Vec<CustomerRef> = chunk.iter().map(CustomerRef::of).collect();
    // Years that the archive was not yet asked about show themselves as "moved"; the chunk is then planned again.
    for _ in 0..4 {
        let cold = store.cold_files(&chunk).await?;
        let savepoint = tx.savepoint("chunk").await?;
        match store
            .write_in(&savepoint, &mut chunk, &refs, &cold, false)
            .await
        {
            Ok(written) => {
                savepoint.commit().await?;
                // Customers are not learned: they exist only if the upload commits.
                return Ok(chunk
                    .iter()
                    .zip(written.outcomes)
                    .map(|(n, o)| line_outcome(n, o))
                    .collect());
            }
            Err(Abort::ArchiveMoved(files)) => {
                savepoint.rollback().await?;
                store.remember_archived(&chunk, files);
            }
            Err(Abort::Store(e)) => return Err(e),
            Err(Abort::Db(e)) => {
                return Err(StoreError::Unavailable {
                    detail: e.to_string(),
                });
            }
        }
    }
    Err(StoreError::Unavailable {
        detail: "the archive catalog keeps changing".into(),
    })
}

fn line_outcome(new: &NewInvoice, outcome: Outcome) -> LineOutcome {
    let rejected = |code, detail: String| LineOutcome::Rejected { code, detail };
    match outcome {
        Outcome::Created | Outcome::Replay(_) => LineOutcome::Created,
        Outcome::DuplicateExternalId(existing) => LineOutcome::Duplicate(existing),
        Outcome::DuplicateId => LineOutcome::Duplicate(new.invoice.id),
        Outcome::DuplicateNumber(existing) => rejected(
            "duplicate_number",
            format!(
                "number: taken by invoice {existing} of year {}",
                id::year_of(existing)
            ),
        ),
        Outcome::CustomerNotFound => {
            rejected("customer_not_found", "customer_id: no such customer".into())
        }
        Outcome::IdemMismatch | Outcome::IdemInProgress => {
            rejected("idempotency_conflict", "idempotency key in use".into())
        }
    }
}
