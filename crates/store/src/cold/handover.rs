//! The hot tier's side of tiering: what may move, reading it at one snapshot, and the
//! one-transaction handover.

pub(crate) mod page;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Transaction;
use sheaf_model::invoice::totals;
use sheaf_model::{Period, TenantId};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::cold::archive::ArchivedInvoice;
use crate::cold::file::ArchiveFile;
use crate::customer::erase::Held;
use crate::invoice::decode;
use crate::schema::migrate;
use crate::{Store, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::rows::now;
use sheaf_cluster::transaction::Session;

/// How a handover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// The file is the tier of its invoices now.
    Done,
    /// Something changed meanwhile; nothing was done.
    Changed,
    /// Retention holds the year, and the documents were to change; nothing was done.
    Held(Held),
}

pub(crate) use page::{Span, read_page};

/// One run at a time over a tenant's archive, or over all of them, among all processes.
const TIERING_LOCK: i64 = 0x5368_6561_6603;
/// Plans that do not depend on parameters. Citus keeps those of a prepared statement after its
/// first execution; a custom plan is, each time, SQL with the parameters in it as text, ten
/// thousand ids at their most, which is then parsed and planned.
const GENERIC_PLANS: &str = "set local plan_cache_mode = force_generic_plan";
/// A handover is tried so often, with a pause between that grows.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// Ids of one DELETE: its transaction holds all of them, the statement need not.
const DELETE_CHUNK: usize = 10_000;
/// Invoices between those that go, of one DELETE of lines: each line is compared with each of them.
const STAYING: usize = 128;

/// The right to run tiering, held by a session of the coordinator. It is gone when the session is.
pub struct TieringLock {
    client: Client,
}

impl TieringLock {
    /// Whether the session that holds the lock is still alive.
    pub async fn still_held(&self) -> bool {
        self.client.batch_execute("").await.is_ok()
    }

    /// Lets the next runner in.
    pub fn release(self) {}
}

/// A reader of settled invoices at one snapshot of the owner node.
pub struct SnapshotReader {
    conn: Session,
    tenant: TenantId,
    year: i16,
    last: Uuid,
    before: Uuid,
}

impl Store {
    /// Takes the tiering lock of one tenant, or of all; `None` while another process has it. Work
    /// on different tenants goes side by side; work on all of them goes alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn try_lock_tiering(
        &self,
        only: Option<TenantId>,
    ) -> Result<Option<TieringLock>, StoreError> {
        let client = migrate::connect(&self.inner.config.cluster.database_url).await?;
        let of_all = match only {
            None => sql::CLUSTER_TRY_ADVISORY_LOCK,
            Some(_) => sql::CLUSTER_TRY_ADVISORY_LOCK_SHARED,
        };
        let held: bool = client.query_one(of_all, &[&TIERING_LOCK]).await?.get(0);
        let (true, Some(tenant)) = (held, only) else {
            return Ok(held.then_some(TieringLock { client }));
        };
        // The random half of its id. Two tenants with the same one would take turns.
        let (_, own) = tenant.0.as_u64_pair();
        let own = own.cast_signed();
        let held: bool = client
            .query_one(sql::CLUSTER_TRY_ADVISORY_LOCK, &[&own])
            .await?
            .get(0);
        Ok(held.then_some(TieringLock { client }))
    }

    /// The smallest settled id in `[from, before)`: the next unit starts there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_settled(
        &self,
        tenant: TenantId,
        from: Uuid,
        before: Uuid,
    ) -> Result<Option<Uuid>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let next = conn.prepare_cached(sql::TIERING_NEXT_SETTLED).await?;
        let row = conn.query_opt(&next, &[&tenant.0, &from, &before]).await?;
        Ok(row.map(|r| r.get(0)))
    }

    /// Invoices below `before` that stay hot because something may still be owed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_unsettled(&self, tenant: TenantId, before: Uuid) -> Result<u64, StoreError> {
        let conn = Session::open(&self.inner.cluster.owner(tenant)).await?;
        // A few rows of an index: starting parallel workers costs more.
        conn.conn()?
            .batch_execute("begin read only; set local max_parallel_workers_per_gather = 0")
            .await?;
        let count: i64 = conn
            .conn()?
            .query_one(sql::TIERING_COUNT_UNSETTLED, &[&tenant.0, &before])
            .await?
            .get(0);
        conn.conn()?.batch_execute("commit").await?;
        conn.release();
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Opens a snapshot on the settled invoices of `period` with ids in `(after, before)`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshot_reader(
        &self,
        tenant: TenantId,
        period: Period,
        after: Option<Uuid>,
    ) -> Result<SnapshotReader, StoreError> {
        let conn = Session::open(&self.inner.cluster.owner(tenant)).await?;
        let begin = format!("begin isolation level repeatable read read only; {GENERIC_PLANS}");
        conn.conn()?.batch_execute(&begin).await?;
        let (first, before) = period.id_bounds();
        // The lower bound itself is no v7 id (its version bits are zero), so "after it" includes
        // the first.
        Ok(SnapshotReader {
            conn,
            tenant,
            year: period.year,
            last: after.unwrap_or(first),
            before,
        })
    }

    /// Step 5 of tiering: in one transaction of the tenant's shard the hot rows go and the file
    /// becomes their tier. If any of them has changed since it was read, or the file is no longer
    /// staged, nothing happens.
    ///
    /// `rows` are the ids and versions that the file holds.
    ///
    /// # Errors
    /// When the database fails. The outcome of a failed commit is unknown; the catalog tells.
    pub async fn publish_file(
        &self,
        file: &ArchiveFile,
        rows: &[(Uuid, i64)],
    ) -> Result<Publish, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_publish(file, rows).await {
                // Beside DDL of a partition it may be the one that a deadlock ends, or find a table
                // away for a moment.
                Err((StoreError::Cluster(Error::Unavailable { detail }), Step::Before))
                    if attempt < ATTEMPTS =>
                {
                    tracing::info!(detail, attempt, "a handover is tried again");
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                outcome => return outcome.map_err(|(error, _)| error),
            }
        }
    }

    async fn try_publish(
        &self,
        file: &ArchiveFile,
        rows: &[(Uuid, i64)],
    ) -> Result<Publish, (StoreError, Step)> {
        let before = |error: StoreError| (error, Step::Before);
        let conn = self.inner.cluster.owner(file.tenant_id).get().await;
        let mut conn = conn.map_err(|error| before(error.into()))?;
        let tx = conn.transaction().await.map_err(|e| before(e.into()))?;
        if !hand_over(&tx, file, rows).await.map_err(before)? {
            return Ok(Publish::Changed);
        }
        let committed = tx.commit().await;
        committed.map_err(|error| (error.into(), Step::Commit))?;
        Ok(Publish::Done)
    }
}

/// Where a handover failed.
enum Step {
    /// Nothing was done.
    Before,
    /// It may have been.
    Commit,
}

/// Deletes the rows and publishes the file; false where either is not as it was.
async fn hand_over(
    tx: &Transaction<'_>,
    file: &ArchiveFile,
    rows: &[(Uuid, i64)],
) -> Result<bool, StoreError> {
    tx.batch_execute(GENERIC_PLANS).await?;
    let Some(deleted) = delete_rows(tx, file, rows).await? else {
        return Ok(false);
    };
    let expected = [file.invoices, file.lines, file.payments, file.events]
        .map(|n| u64::try_from(n).unwrap_or(0));
    if deleted != expected {
        tracing::warn!(
            ?deleted,
            ?expected,
            object = file.object_key,
            "the handover found other rows than the file holds"
        );
        return Ok(false);
    }
    publish_row(tx, file).await
}

/// Makes a staged file the tier of its invoices; false where it is not staged any more.
pub(crate) async fn publish_row(
    tx: &Transaction<'_>,
    file: &ArchiveFile,
) -> Result<bool, StoreError> {
    let (sha256, tail_sha256) = (
        file.sha256.map(|s| s.to_vec()),
        file.tail_sha256.map(|s| s.to_vec()),
    );
    // Later than every recall: the copies that are out of date are told by their file's time.
    let latest = tx.prepare_cached(sql::ARCHIVE_RECALL_LATEST).await?;
    let recalled: Option<DateTime<Utc>> = tx
        .query_one(&latest, &[&file.tenant_id.0, &file.period.year])
        .await?
        .get(0);
    let after = recalled.map(|at| at + TimeDelta::microseconds(1));
    let published_at = after.map_or_else(now, |after| after.max(now()));
    let month = file.period.to_string();
    let params: [&(dyn ToSql + Sync); 17] = [
        &file.tenant_id.0,
        &month,
        &file.part,
        &file.generation,
        &file.min_id,
        &file.max_id,
        &file.invoices,
        &file.lines,
        &file.payments,
        &file.events,
        &file.bytes,
        &file.tail_offset,
        &sha256,
        &file.sums,
        &published_at,
        &tail_sha256,
        &file.numbers,
    ];
    let publish = tx.prepare_cached(sql::ARCHIVE_FILE_PUBLISH).await?;
    Ok(tx.execute(&publish, &params).await? == 1)
}

/// Deletes the rows; `None` where one of them has changed. Returns the rows deleted by table.
async fn delete_rows(
    tx: &Transaction<'_>,
    file: &ArchiveFile,
    rows: &[(Uuid, i64)],
) -> Result<Option<[u64; 4]>, StoreError> {
    let (tenant, year) = (file.tenant_id.0, file.period.year);
    let mut deleted = [0_u64; 4];
    let delete = tx.prepare_cached(sql::TIERING_DELETE_INVOICES).await?;
    for chunk in rows.chunks(DELETE_CHUNK) {
        let ids: Vec<Uuid> = chunk.iter().map(|(id, _)| *id).collect();
        let gone = tx.query(&delete, &[&tenant, &year, &ids]).await?;
        let now: HashMap<Uuid, i64> = gone.iter().map(|r| (r.get(0), r.get(1))).collect();
        if now.len() != chunk.len()
            || chunk
                .iter()
                .any(|(id, version)| now.get(id) != Some(version))
        {
            return Ok(None);
        }
        deleted[0] += gone.len() as u64;
        let events = tx.prepare_cached(sql::TIERING_DELETE_EVENTS).await?;
        deleted[3] += tx.execute(&events, &[&tenant, &year, &ids]).await?;
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            continue;
        };
        let before = Uuid::from_u128(first.as_u128().saturating_sub(1));
        let [lines, payments] = delete_children(tx, file, before, *last).await?;
        deleted[1] += lines;
        deleted[2] += payments;
    }
    Ok(Some(deleted))
}

/// Deletes lines and payments of the invoices after the first id up to the second that are gone.
/// What others put between them meanwhile could go with them: the caller's counts tell, and its
/// transaction is given up.
async fn delete_children(
    tx: &Transaction<'_>,
    file: &ArchiveFile,
    mut after: Uuid,
    last: Uuid,
) -> Result<[u64; 2], StoreError> {
    let (tenant, year) = (file.tenant_id.0, file.period.year);
    let tables = [
        sql::TIERING_DELETE_INVOICE_LINES,
        sql::TIERING_DELETE_PAYMENTS,
    ];
    let staying = tx.prepare_cached(sql::TIERING_STAYING).await?;
    let mut deleted = [0; 2];
    while after < last {
        let limit = i64::try_from(STAYING).unwrap_or(i64::MAX);
        let rows = tx
            .query(&staying, &[&tenant, &year, &after, &last, &limit])
            .await?;
        let stay: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let to = match stay.last() {
            Some(id) if stay.len() == STAYING => *id,
            _ => last,
        };
        for (count, delete) in deleted.iter_mut().zip(tables) {
            let delete = tx.prepare_cached(delete).await?;
            *count += tx
                .execute(&delete, &[&tenant, &year, &after, &to, &stay])
                .await?;
        }
        after = to;
    }
    Ok(deleted)
}

impl SnapshotReader {
    /// The next settled invoices by ascending id, whole and with their events; empty at the end. At
    /// most `max_invoices`, fewer where they are long or others lie between: one page is all that
    /// is in memory.
    ///
    /// # Errors
    /// When the database fails; the snapshot is lost then.
    pub async fn next_page(
        &mut self,
        max_invoices: usize,
    ) -> Result<Vec<ArchivedInvoice>, StoreError> {
        loop {
            let span = Span {
                tenant: self.tenant,
                year: self.year,
                after: self.last,
                before: self.before,
            };
            let page = read_page(self.conn.conn()?, &span, max_invoices, settled).await?;
            match page.last {
                Some(last) => self.last = last,
                None => return Ok(Vec::new()),
            }
            if !page.invoices.is_empty() {
                return Ok(page.invoices);
            }
        }
    }

    /// Ends the snapshot. Dropping the reader ends it by closing its connection.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(self) -> Result<(), StoreError> {
        self.conn.conn()?.batch_execute("commit").await?;
        self.conn.release();
        Ok(())
    }
}

fn settled(header: &Row) -> bool {
    decode::status(header).parse().is_ok_and(totals::is_settled)
}
