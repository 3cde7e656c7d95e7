//! Both tiers of one tenant at one moment: the catalog, the recalls and the hot rows of a single
//! snapshot. A handover and a recall are one transaction each, so an invoice is in exactly one tier
//! of it.

use chrono::{DateTime, Utc};
use sheaf_model::{Period, TenantId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::cold::archive::ArchivedInvoice;
use crate::cold::catalog;
use crate::cold::file::{ArchiveFile, FileState};
use crate::cold::handover::{Span, read_page};
use crate::{Store, StoreError, sql};
use sheaf_cluster::rows::now;
use sheaf_cluster::transaction::Session;

/// Rows of the catalog, or recalls, that one statement reads.
const PAGE: i64 = 5_000;

/// One tenant at one moment of its owner node. Dropping it closes its connection.
pub struct TenantSnapshot {
    conn: Session,
    tenant: TenantId,
    taken_at: DateTime<Utc>,
}

impl Store {
    /// Opens a snapshot. It holds a connection until it is finished or dropped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant_snapshot(&self, tenant: TenantId) -> Result<TenantSnapshot, StoreError> {
        let conn = Session::open_long(&self.inner.cluster.owner(tenant), tenant).await?;
        let taken_at = now();
        conn.conn()?
            .batch_execute("begin isolation level repeatable read read only")
            .await?;
        Ok(TenantSnapshot {
            conn,
            tenant,
            taken_at,
        })
    }
}

impl TenantSnapshot {
    /// Whatever was committed by then is in it.
    pub fn taken_at(&self) -> DateTime<Utc> {
        self.taken_at
    }

    /// The published files by period and part, at most `limit`: none of them when there are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files(&self, limit: usize) -> Result<Option<Vec<ArchiveFile>>, StoreError> {
        let mut files: Vec<ArchiveFile> = Vec::new();
        loop {
            let after = files.last().map(|f| (f.period, f.part, f.generation));
            let page = self.files_after(after, PAGE).await?;
            let ended = !is_full(&page, PAGE);
            files.extend(page);
            if files.len() > limit {
                return Ok(None);
            }
            if ended {
                return Ok(Some(files));
            }
        }
    }

    /// The first month, `from` or later, that published files may hold invoices of, and those files
    /// by their first id, at most `limit`: no files when there are more. None when there is no such
    /// month.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_files(
        &self,
        from: Period,
        limit: usize,
    ) -> Result<Option<(Period, Option<Vec<ArchiveFile>>)>, StoreError> {
        let conn = self.conn.conn()?;
        let (from, _) = from.id_bounds();
        let next = conn.prepare_cached(sql::ARCHIVE_FILE_NEXT).await?;
        let Some(next) = conn.query_opt(&next, &[&self.tenant.0, &from]).await? else {
            return Ok(None);
        };
        // No file is of two years.
        let (first, before) = Period::of(next.get(0)).year().id_bounds();
        let first = first.max(from);
        let rows = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let between = conn.prepare_cached(sql::ARCHIVE_FILE_BETWEEN).await?;
        let params: [&(dyn ToSql + Sync); 4] = [&self.tenant.0, &first, &before, &rows];
        let rows = conn.query(&between, &params).await?;
        let files: Vec<ArchiveFile> = rows
            .iter()
            .map(catalog::from_row)
            .collect::<Result<_, _>>()?;
        let Some(month) = files.first().map(|file| Period::of(file.min_id.max(first))) else {
            return Ok(None);
        };
        let (_, before) = month.id_bounds();
        let of_month = files.partition_point(|file| file.min_id < before);
        let mut files = Some(files).filter(|_| of_month <= limit);
        if let Some(files) = &mut files {
            files.truncate(of_month);
        }
        Ok(Some((month, files)))
    }

    async fn files_after(
        &self,
        after: Option<(Period, i32, i32)>,
        limit: i64,
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let conn = self.conn.conn()?;
        let statement = conn.prepare_cached(sql::ARCHIVE_FILE_LIST).await?;
        let states = [FileState::Published.as_str()];
        let period = after.map(|(period, ..)| period.to_string());
        let (part, generation) = after.map_or((0, 0), |(_, part, generation)| (part, generation));
        let params: [&(dyn ToSql + Sync); 6] = [
            &self.tenant.0,
            &&states[..],
            &period,
            &part,
            &generation,
            &limit,
        ];
        let rows = conn.query(&statement, &params).await?;
        rows.iter().map(catalog::from_row).collect()
    }

    /// When each recalled invoice was recalled last, by id, at most `limit`: none of them when
    /// there are more. Copies in files that were published up to that time are out of date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recalls(
        &self,
        limit: usize,
    ) -> Result<Option<Vec<(Uuid, DateTime<Utc>)>>, StoreError> {
        let mut recalls: Vec<(Uuid, DateTime<Utc>)> = Vec::new();
        loop {
            let last = recalls.last().map_or(Uuid::nil(), |(id, _)| *id);
            let page = self.recalls_after(last, PAGE).await?;
            let ended = !is_full(&page, PAGE);
            recalls.extend(page);
            if recalls.len() > limit {
                return Ok(None);
            }
            if ended {
                return Ok(Some(recalls));
            }
        }
    }

    /// When each recalled invoice after `after` was recalled last, by id: the first `limit` of
    /// them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recalls_after(
        &self,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
        let conn = self.conn.conn()?;
        let statement = conn.prepare_cached(sql::ARCHIVE_RECALL_OF_TENANT).await?;
        let rows = conn
            .query(&statement, &[&self.tenant.0, &after, &limit])
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The period of the first hot invoice in `from` or later; none when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_hot_period(&self, from: Period) -> Result<Option<Period>, StoreError> {
        let conn = self.conn.conn()?;
        let statement = conn.prepare_cached(sql::INVOICE_NEXT_ID).await?;
        let (first, _) = from.id_bounds();
        let row = conn
            .query_opt(&statement, &[&self.tenant.0, &first])
            .await?;
        Ok(row.map(|row| Period::of(row.get(0))))
    }

    /// Hot invoices of a period after one of them, by id, whole and with their events; empty at the
    /// end. At most `max_invoices`, fewer where they are long.
    ///
    /// # Errors
    /// When the database fails; the snapshot is lost then.
    pub async fn hot_page(
        &self,
        period: Period,
        after: Option<Uuid>,
        max_invoices: usize,
    ) -> Result<Vec<ArchivedInvoice>, StoreError> {
        let (first, before) = period.id_bounds();
        let span = Span {
            tenant: self.tenant,
            year: period.year,
            after: after.unwrap_or(first),
            before,
        };
        let page = read_page(self.conn.conn()?, &span, max_invoices, |_| true).await?;
        Ok(page.invoices)
    }

    /// Ends the snapshot; its connection goes back to the pool.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(self) -> Result<(), StoreError> {
        self.conn.conn()?.batch_execute("commit").await?;
        self.conn.release();
        Ok(())
    }
}

fn is_full<T>(page: &[T], limit: i64) -> bool {
    i64::try_from(page.len()).is_ok_and(|rows| rows >= limit)
}
