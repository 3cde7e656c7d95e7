//! Sending a batch: its transaction, its rows by shard and table, and what the archive says of its
//! keys, all of them in as few round trips as their order allows.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::SinkExt;
use sheaf_model::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::batch::Abort;
use crate::cold::catalog;
use crate::cold::file::ArchiveFile;
use crate::invoice::encode::Batch;
use crate::invoice::number::{LockNumbers, Locks};
use crate::sql;
use crate::sql::statements::{OnShard, Table};
use sheaf_cluster::Error;
use sheaf_cluster::batch::{Hold, Place};
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::rows::CopyBuffer;
use sheaf_cluster::transaction::in_order;

/// How a batch's transaction begins. Made before anything is sent: what is sent with it must not
/// overtake it while a statement is still being prepared.
pub(crate) struct Opening {
    /// What keeps the shards where they are.
    hold: Option<Hold>,
    numbers: Option<LockNumbers>,
}

impl Opening {
    pub(crate) async fn prepare(
        place: &Place<'_>,
        citus: bool,
        numbers: &Locks,
    ) -> Result<Self, tokio_postgres::Error> {
        let numbers = numbers.prepare(place.conn).await?;
        let hold = place.prepare_hold(citus).await?;
        Ok(Self { hold, numbers })
    }

    pub(crate) async fn send(&self, place: &Place<'_>) -> Result<(), tokio_postgres::Error> {
        let numbers = async {
            match &self.numbers {
                Some(lock) => lock.send(place.conn).await,
                None => Ok(()),
            }
        };
        let (begin, hold) = (place.begin(), place.hold(self.hold.as_ref()));
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
        .map(|row| catalog::from_row(row).map_err(Abort::Failed))
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

/// What a statement gave.
type Sent<T> = Result<T, tokio_postgres::Error>;

/// The statements of all rows, table by table. Preparing takes a round trip where a connection has
/// not yet written into a shard.
async fn inserts<'a>(
    conn: &'a Object,
    batches: &[(Arc<Shard>, Batch)],
) -> Sent<Vec<impl Future<Output = Sent<u64>> + 'a>> {
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
        Err(Abort::Failed(
            Error::Corrupt(format!("COPY stored {stored} of {expected} rows")).into(),
        ))
    }
}
