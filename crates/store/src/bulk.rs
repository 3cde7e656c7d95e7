//! Bulk: chunks of an upload, written node by node; and uploads that land as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Object;
use futures_util::{StreamExt, TryStreamExt, stream};
use sheaf_model::{TenantId, id};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Failure, classify};
use crate::flush::{Abort, Known};
use crate::numbers::Numbered;
use crate::plan::{CustomerRef, Outcome};
use crate::send::{Frame, Place};
use crate::session::{BEGIN, Session};
use crate::types::{LineOutcome, NewInvoice};
use crate::{Store, StoreError};

/// Transactions of one chunk at the same time, and on one node.
const CONCURRENT: usize = 4;
const CONCURRENT_PER_NODE: i64 = 2;

impl Store {
    /// Writes a chunk of an upload, a few transactions a node. Outcomes come in the order of the chunk.
    ///
    /// # Errors
    /// When the database fails. What was written before stays written; sending the chunk again finds them.
    pub async fn write_chunk(
        &self,
        chunk: Vec<NewInvoice>,
    ) -> Result<Vec<LineOutcome>, StoreError> {
        let total = chunk.len();
        let shards = self.inner.cluster.shards_of(&chunk);
        let mut items: Vec<(usize, NewInvoice)> = chunk.into_iter().enumerate().collect();
        items.sort_by_key(|(index, _)| shards[*index].id);
        let mut parts: BTreeMap<_, (Vec<usize>, Vec<NewInvoice>)> = BTreeMap::new();
        for (index, new) in items {
            let shard = &shards[index];
            let part = (&shard.node, shard.id / 2 % CONCURRENT_PER_NODE);
            let (indexes, items) = parts.entry(part).or_default();
            indexes.push(index);
            items.push(new);
        }
        let written: Vec<(Vec<usize>, Vec<LineOutcome>)> = stream::iter(parts.into_values())
            .map(|(indexes, mut items)| async move {
                let outcomes = self.write_batch(&mut items).await?;
                let lines = items
                    .iter()
                    .zip(outcomes)
                    .map(|(n, o)| line_outcome(n, o))
                    .collect();
                Ok::<_, StoreError>((indexes, lines))
            })
            .buffer_unordered(CONCURRENT)
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
        let cluster = &self.inner.cluster;
        let (node, direct) = match tenant {
            Some(tenant) => (cluster.owner(tenant), cluster.is_direct()),
            None => (cluster.coordinator(), !cluster.citus),
        };
        let session = Session::open(&node).await?;
        let (commands, queue) = mpsc::channel(1);
        tokio::spawn(transaction(self.clone(), session, direct, queue));
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
    /// When the commit failed or its outcome is unknown: the upload may be sent again. [`StoreError::Conflict`] with
    /// `duplicate_number` where a document took a number of the upload while it was written.
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
async fn transaction(
    store: Store,
    session: Session,
    direct: bool,
    mut commands: mpsc::Receiver<Command>,
) {
    let Ok(conn) = session.conn() else { return };
    if let Err(error) = conn.batch_execute(BEGIN).await {
        return tracing::warn!(%error, "an atomic upload could not begin");
    }
    let mut numbered = Numbered::default();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Write(chunk, reply) => {
                numbered.add(&chunk);
                let result = write_chunk_in(&store, conn, direct, chunk).await;
                let failed = result.is_err();
                let _gone = reply.send(result);
                if failed {
                    return;
                }
            }
            Command::Commit(reply) => {
                let committed = match store.settle_numbers(conn, direct, &numbered).await {
                    Ok(()) => conn.batch_execute("commit").await.map_err(StoreError::from),
                    Err(refused) => Err(refused),
                };
                if committed.is_ok() {
                    session.release();
                }
                let _gone = reply.send(committed);
                return;
            }
        }
    }
    session.rollback().await;
}

async fn write_chunk_in(
    store: &Store,
    conn: &Object,
    direct: bool,
    mut chunk: Vec<NewInvoice>,
) -> Result<Vec<LineOutcome>, StoreError> {
    let mut known = Known {
        refs: chunk.iter().map(CustomerRef::of).collect(),
        cold: Vec::new(),
        uncertain: false,
    };
    let shards = store.inner.cluster.shards_of(&chunk);
    let place = Place {
        conn,
        frame: Frame::Open,
        shards: &shards,
        direct,
    };
    // Years that the archive was not yet asked about show themselves as "moved"; the chunk is then planned again.
    for _ in 0..4 {
        known.cold = store.cold_files(&chunk).await?;
        conn.batch_execute("savepoint chunk").await?;
        match store.write_in(&place, &mut chunk, &known).await {
            Ok(written) => {
                conn.batch_execute("release chunk").await?;
                // Customers are not learned: they exist only if the upload commits.
                return Ok(chunk
                    .iter()
                    .zip(written.outcomes)
                    .map(|(n, o)| line_outcome(n, o))
                    .collect());
            }
            Err(Abort::ArchiveMoved(files)) => {
                conn.batch_execute("rollback to chunk").await?;
                store.remember_archived(&chunk, files);
            }
            // Creates recall nothing, and take no number of a series.
            Err(Abort::Cold(_) | Abort::Numbers(_)) => {
                conn.batch_execute("rollback to chunk").await?
            }
            Err(Abort::Store(e)) => return Err(e),
            Err(Abort::Db(e)) => {
                if classify(&e) == Failure::MissingPartition {
                    // Another process has dropped the year: the next attempt makes it anew.
                    store.forget_years();
                }
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
        Outcome::CustomerInactive => {
            rejected("customer_inactive", "customer: is not active".into())
        }
        Outcome::IdemMismatch | Outcome::IdemInProgress => {
            rejected("idempotency_conflict", "idempotency key in use".into())
        }
    }
}
