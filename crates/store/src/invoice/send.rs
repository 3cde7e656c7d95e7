//! Sending a batch: its transaction, its rows by shard and table, and what the archive says of its
//! keys, all of them in as few round trips as their order allows.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::SinkExt;
use sheaf_model::TenantId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::cluster::batch::Abort;
use crate::cluster::rows::CopyBuffer;
use crate::cluster::shard::{Shard, Table};
use crate::cluster::transaction::{BEGIN_BATCH, BEGIN_ROUTED, in_order};
use crate::cold::catalog;
use crate::cold::file::ArchiveFile;
use crate::invoice::encode::Batch;
use crate::invoice::number::{LockNumbers, Locks};
use crate::{StoreError, sql};

/// Whose transaction a batch is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The batch's own: begun and committed with it.
    Own,
    /// One that is open already, and stays open.
    Open,
}

impl Frame {
    pub(crate) async fn run(
        self,
        conn: &Object,
        statement: &str,
    ) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Own => conn.batch_execute(statement).await,
            Self::Open => Ok(()),
        }
    }
}

/// Where a batch is written.
pub(crate) struct Place<'a> {
    pub(crate) conn: &'a Object,
    pub(crate) frame: Frame,
    /// The shard of each item.
    pub(crate) shards: &'a [Arc<Shard>],
    /// Straight into the tables of these shards, which are on this node; else by COPY, which Citus
    /// routes.
    pub(crate) direct: bool,
    /// Set once the commit is on its way: from then on a lost connection may have taken its answer
    /// along.
    pub(crate) committing: &'a AtomicBool,
    /// Set where it was a shard that was not to be held.
    pub(crate) shard_locked: &'a AtomicBool,
    /// Whether the work of other tenants waits for this batch: what takes long has to leave it.
    pub(crate) in_company: bool,
}

impl Place<'_> {
    /// Commits the batch's own transaction.
    pub(crate) async fn commit(&self) -> Result<(), tokio_postgres::Error> {
        if self.frame == Frame::Own {
            self.committing.store(true, Ordering::Relaxed);
        }
        self.frame.run(self.conn, "commit").await
    }
}

/// How a batch's transaction begins. Made before anything is sent: what is sent with it must not
/// overtake it while a statement is still being prepared.
pub(crate) struct Opening {
    /// The statement that keeps the shards where they are, and the shards.
    hold: Option<(Statement, Vec<i64>)>,
    numbers: Option<LockNumbers>,
}

impl Opening {
    pub(crate) async fn prepare(
        place: &Place<'_>,
        citus: bool,
        numbers: &Locks,
    ) -> Result<Self, tokio_postgres::Error> {
        let numbers = numbers.prepare(place.conn).await?;
        if !(place.direct && citus) {
            return Ok(Self {
                hold: None,
                numbers,
            });
        }
        let hold = place.conn.prepare_cached(sql::CLUSTER_HOLD_SHARDS).await?;
        // In ascending order, so that two batches never wait for one another.
        let ids: BTreeSet<i64> = place.shards.iter().map(|s| s.id).collect();
        Ok(Self {
            hold: Some((hold, ids.into_iter().collect())),
            numbers,
        })
    }

    pub(crate) async fn send(&self, place: &Place<'_>) -> Result<(), tokio_postgres::Error> {
        let begin = match place.direct {
            true => BEGIN_BATCH,
            false => BEGIN_ROUTED,
        };
        let begin = place.frame.run(place.conn, begin);
        let hold = async {
            if let Some((hold, shards)) = &self.hold {
                let params: [&(dyn ToSql + Sync); 1] = [shards];
                let held = place.conn.query(hold, &params).await;
                held.inspect_err(|_| place.shard_locked.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        let numbers = async {
            match &self.numbers {
                Some(lock) => lock.send(place.conn).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(biased; begin, hold, numbers)?;
        Ok(())
    }
}

/// Sends the rows, and asks what is published in the keys' years after them; `open` goes before,
/// `end` after.
pub(crate) async fn write(
    place: &Place<'_>,
    batches: &[(Arc<Shard>, Batch)],
    keyed: &BTreeMap<TenantId, BTreeSet<i16>>,
    open: impl Future<Output = Result<(), tokio_postgres::Error>>,
    end: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<Vec<ArchiveFile>, Abort> {
    let conn = place.conn;
    let archived = published(conn, keyed).await?;
    let now = if place.direct {
        let inserts = inserts(conn, batches).await?;
        let ((), _, now, ()) =
            tokio::try_join!(biased; open, in_order(inserts), in_order(archived), end)?;
        now
    } else {
        open.await?;
        for table in Table::ALL {
            for (_, batch) in batches {
                copy(conn, table.copy(), batch.rows_of(table)).await?;
            }
        }
        let ((), now) = tokio::try_join!(biased; end, in_order(archived))?;
        now
    };
    now.iter()
        .flatten()
        .map(|row| catalog::from_row(row).map_err(Abort::Store))
        .collect()
}

/// The statements that read what is published in the keys' years.
async fn published<'a>(
    conn: &'a Object,
    keyed: &'a BTreeMap<TenantId, BTreeSet<i16>>,
) -> Result<
    Vec<impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + 'a>,
    tokio_postgres::Error,
> {
    if keyed.is_empty() {
        return Ok(Vec::new());
    }
    let statement = conn.prepare_cached(sql::ARCHIVE_FILE_OF_YEARS).await?;
    let of_tenant = |(tenant, years): (&'a TenantId, &BTreeSet<i16>)| {
        let (statement, tenant) = (statement.clone(), tenant.0);
        let years: Vec<i16> = years.iter().copied().collect();
        async move { conn.query(&statement, &[&tenant, &years]).await }
    };
    Ok(keyed.iter().map(of_tenant).collect())
}

/// The statements of all rows, table by table. Preparing takes a round trip where a connection has
/// not yet written into a shard.
async fn inserts<'a>(
    conn: &'a Object,
    batches: &[(Arc<Shard>, Batch)],
) -> Result<Vec<impl Future<Output = Result<u64, tokio_postgres::Error>> + 'a>, tokio_postgres::Error>
{
    let mut inserts = Vec::with_capacity(batches.len() * 4);
    for table in Table::ALL {
        for (shard, batch) in batches {
            let rows = batch.rows_of(table);
            if rows.rows() == 0 {
                continue;
            }
            let statement = conn.prepare_cached(shard.insert(table)).await?;
            let columns = rows.columns();
            inserts.push(async move {
                let params: Vec<&(dyn ToSql + Sync)> =
                    columns.iter().map(|c| c as &(dyn ToSql + Sync)).collect();
                conn.execute(&statement, &params).await
            });
        }
    }
    Ok(inserts)
}

/// One COPY; nothing at all for a table without rows.
async fn copy(conn: &Object, statement: &str, rows: &CopyBuffer) -> Result<(), Abort> {
    let expected = rows.rows();
    if expected == 0 {
        return Ok(());
    }
    let statement = conn.prepare_cached(statement).await?;
    let sink = conn.copy_in::<_, Bytes>(&statement).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(rows.stream()).await?;
    let stored = sink.finish().await?;
    if stored == expected {
        Ok(())
    } else {
        Err(Abort::Store(StoreError::Corrupt(format!(
            "COPY stored {stored} of {expected} rows"
        ))))
    }
}
