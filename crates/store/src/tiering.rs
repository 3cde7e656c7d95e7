//! The hot tier's side of tiering: what may move, reading it at one snapshot, and the one-transaction handover.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::{Object, Transaction};
use sheaf_model::{Invoice, Period, TenantId, id, rules};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::fetch::{Fetched, fetch, fetch_of};
use crate::session::Session;
use crate::tenants::now;
use crate::types::{ArchiveFile, ArchivedInvoice, EventRow, Publish};
use crate::{MAX_PAGE_LINES, Store, StoreError, migrate, rows, sql};

/// One run at a time over a tenant's archive, or over all of them, among all processes.
const TIERING_LOCK: i64 = 0x5368_6561_6603;
/// Plans that do not depend on parameters. Citus keeps those of a prepared statement after its first execution; a custom plan is,
/// each time, SQL with the parameters in it as text, ten thousand ids at their most, which is then parsed and planned.
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
    /// Takes the tiering lock of one tenant, or of all; `None` while another process has it. Work on different tenants
    /// goes side by side; work on all of them goes alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn try_lock_tiering(
        &self,
        only: Option<TenantId>,
    ) -> Result<Option<TieringLock>, StoreError> {
        let client = migrate::connect(&self.inner.config.database_url).await?;
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
        // The lower bound itself is no v7 id (its version bits are zero), so "after it" includes the first.
        Ok(SnapshotReader {
            conn,
            tenant,
            year: period.year,
            last: after.unwrap_or(first),
            before,
        })
    }

    /// Step 5 of tiering: in one transaction of the tenant's shard the hot rows go and the file becomes their tier. If
    /// any of them has changed since it was read, or the file is no longer staged, nothing happens.
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
                // Beside DDL of a partition it may be the one that a deadlock ends, or find a table away for a moment.
                Err((StoreError::Unavailable { detail }, Step::Before)) if attempt < ATTEMPTS => {
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
        let mut conn = conn.map_err(before)?;
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

/// Deletes lines and payments of the invoices after the first id up to the second that are gone. What others put between them
/// meanwhile could go with them: the caller's counts tell, and its transaction is given up.
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
    /// The next settled invoices by ascending id, whole and with their events; empty at the end. At most
    /// `max_invoices`, fewer where they are long or others lie between: one page is all that is in memory.
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

/// Ids of one tenant's year, both ends excluded.
pub(crate) struct Span {
    pub(crate) tenant: TenantId,
    pub(crate) year: i16,
    pub(crate) after: Uuid,
    pub(crate) before: Uuid,
}

fn settled(header: &Row) -> bool {
    rows::status(header).parse().is_ok_and(rules::is_settled)
}

/// Neighbours by id.
pub(crate) struct Page {
    /// Those that were wanted, whole and with their events.
    pub(crate) invoices: Vec<ArchivedInvoice>,
    /// The last that was looked at; none at the end of the span.
    pub(crate) last: Option<Uuid>,
}

/// Bytes of each, of the headers, lines, payments and events on a page; one invoice may go beyond. Ten thousand lines, or a
/// long history, are some megabytes.
const PAGE_BYTES: usize = 8 << 20;

/// The first invoices of the span: up to `max_invoices`, of which those are given whose header `is_wanted`. What belongs to
/// the others is read with them and left, so wanted ones should be the rule.
pub(crate) async fn read_page(
    conn: &Object,
    span: &Span,
    max_invoices: usize,
    is_wanted: impl Fn(&Row) -> bool,
) -> Result<Page, StoreError> {
    let limit = i64::try_from(max_invoices).unwrap_or(i64::MAX);
    let page = conn.prepare_cached(sql::INVOICE_READ_PERIOD).await?;
    let params: [&(dyn ToSql + Sync); 5] = [
        &span.tenant.0,
        &span.year,
        &span.after,
        &span.before,
        &limit,
    ];
    let mut headers = fetch(conn, &page, &params, PAGE_BYTES).await?.rows;
    rows::cut(&mut headers, max_invoices, MAX_PAGE_LINES);
    let mut last = headers.last().map(|header| rows::key(header).1);
    headers.retain(is_wanted);
    let (Some(to), false) = (last, headers.is_empty()) else {
        let invoices = Vec::new();
        return Ok(Page { invoices, last });
    };
    let mut children = Children::read(conn, span, (&headers, to), PAGE_BYTES).await?;
    if let Some(partial) = children.partial() {
        let whole = headers.partition_point(|header| rows::key(header).1 < partial);
        headers.truncate(whole.max(1));
        let to = headers.last().map_or(to, |header| rows::key(header).1);
        if whole == 0 {
            // More belongs to the first of them than a page has room for: it is a page of its own.
            children = Children::read(conn, span, (&headers, to), usize::MAX).await?;
        }
        last = Some(to);
    }
    Ok(Page {
        invoices: children.into_invoices(&headers, span.year)?,
        last,
    })
}

/// What belongs to the invoices of a span, each by invoice.
struct Children {
    lines: Fetched,
    payments: Fetched,
    events: Fetched,
}

impl Children {
    /// Of the invoices with these headers, the last of which is `to` or before it; as far as `bytes` go.
    async fn read(
        conn: &Object,
        span: &Span,
        of: (&[Row], Uuid),
        bytes: usize,
    ) -> Result<Self, StoreError> {
        let (lines, payments, events) = tokio::try_join!(
            children(conn, sql::LINE_BETWEEN, span, of, bytes),
            children(conn, sql::PAYMENT_BETWEEN, span, of, bytes),
            children(conn, sql::EVENT_BETWEEN, span, of, bytes),
        )?;
        Ok(Self {
            lines,
            payments,
            events,
        })
    }

    /// The first invoice that more may belong to than was read: all before it are whole.
    fn partial(&self) -> Option<Uuid> {
        let ends = [&self.lines, &self.payments, &self.events];
        let cut = ends.into_iter().filter(|fetched| fetched.cut);
        cut.filter_map(|fetched| fetched.rows.last().map(|row| rows::key(row).1))
            .min()
    }

    fn into_invoices(self, headers: &[Row], year: i16) -> Result<Vec<ArchivedInvoice>, StoreError> {
        let mut by_invoice: HashMap<Uuid, Vec<EventRow>> = HashMap::with_capacity(headers.len());
        for row in &self.events.rows {
            let events = by_invoice.entry(rows::key(row).1).or_default();
            events.push(rows::event(row));
        }
        let with_events = |invoice: Invoice| {
            let id = invoice.id;
            if id::year_of(id) != year {
                let detail = format!("invoice {id} lies in the partition of {year}");
                return Err(StoreError::Corrupt(detail));
            }
            let events = by_invoice.remove(&id).unwrap_or_default();
            Ok(ArchivedInvoice { invoice, events })
        };
        rows::assemble(headers, &self.lines.rows, &self.payments.rows)?
            .into_iter()
            .map(with_events)
            .collect()
    }
}

/// Rows of one table. Between invoices lie others, and, among events, those of customers: they are passed over.
async fn children(
    conn: &Object,
    query: &str,
    span: &Span,
    (headers, to): (&[Row], Uuid),
    bytes: usize,
) -> Result<Fetched, StoreError> {
    let statement = conn.prepare_cached(query).await?;
    let params: [&(dyn ToSql + Sync); 4] = [&span.tenant.0, &span.year, &span.after, &to];
    // Both are in the order of the ids.
    let mut wanted = headers.iter().map(|header| rows::key(header).1).peekable();
    let is_wanted = move |row: &Row| {
        let id = rows::key(row).1;
        while wanted.next_if(|wanted| *wanted < id).is_some() {}
        wanted.peek() == Some(&id)
    };
    Ok(fetch_of(conn, &statement, &params, bytes, is_wanted).await?)
}
