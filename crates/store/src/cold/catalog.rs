//! The catalog of the cold tier: which files there are, and which of them are the tier of their
//! invoices.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use sheaf_model::{Period, TenantId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::setting::retention;
use crate::tenant::now;
use crate::types::{ArchiveFile, FileState};
use crate::{NumberRanges, Store, StoreError, sql};

/// Files of one period that can hold one id: parts overlap only where invoices settled late.
const MAX_LIST: usize = 1_000;

/// What became of a file that was to be garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// Its object may be deleted.
    Done,
    /// The catalog says otherwise.
    Changed,
    /// Its year is on legal hold.
    Held,
}

pub(crate) fn from_row(row: &Row) -> Result<ArchiveFile, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("archive file: {what}"));
    let checksum = |at: usize| {
        row.get::<_, Option<Vec<u8>>>(at)
            .map(|b| b.try_into().map_err(|_| corrupt("checksum")))
            .transpose()
    };
    Ok(ArchiveFile {
        tenant_id: TenantId(row.get(0)),
        period: row
            .get::<_, &str>(1)
            .parse()
            .map_err(|_| corrupt("period"))?,
        part: row.get(2),
        generation: row.get(3),
        object_key: row.get(4),
        state: row.get::<_, &str>(5).parse()?,
        min_id: row.get::<_, Option<Uuid>>(6).unwrap_or_default(),
        max_id: row.get::<_, Option<Uuid>>(7).unwrap_or_default(),
        invoices: row.get(8),
        lines: row.get(9),
        payments: row.get(10),
        events: row.get(11),
        bytes: row.get(12),
        tail_offset: row.get(13),
        sha256: checksum(14)?,
        sums: row.get(15),
        schema_version: row.get(16),
        staged_at: row.get(17),
        published_at: row.get(18),
        superseded_at: row.get(19),
        tail_sha256: checksum(20)?,
        numbers: None,
    })
}

impl Store {
    /// Step 1 of tiering: records an attempt under a key that no other attempt has. `part`: a
    /// generation of that part, or of the period's next free one. `object_key` names the object of
    /// (part, generation).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage_file(
        &self,
        tenant: TenantId,
        period: Period,
        schema_version: i32,
        part: Option<i32>,
        object_key: impl Fn(i32, i32) -> String + Send + Sync,
    ) -> Result<ArchiveFile, StoreError> {
        let month = period.to_string();
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        let part = match part {
            Some(part) => part,
            None => {
                let next = tx.prepare_cached(sql::ARCHIVE_FILE_NEXT_PART).await?;
                tx.query_one(&next, &[&tenant.0, &month]).await?.get(0)
            }
        };
        let (first, last) = periods_of_year(period);
        let next = tx.prepare_cached(sql::ARCHIVE_FILE_NEXT_GENERATION).await?;
        let generation: i32 = tx
            .query_one(&next, &[&tenant.0, &first, &last])
            .await?
            .get(0);
        let (key, staged_at) = (object_key(part, generation), now());
        let params: [&(dyn ToSql + Sync); 8] = [
            &tenant.0,
            &month,
            &part,
            &generation,
            &period.year,
            &key,
            &schema_version,
            &staged_at,
        ];
        let stage = tx.prepare_cached(sql::ARCHIVE_FILE_STAGE).await?;
        tx.execute(&stage, &params).await?;
        tx.commit().await?;
        Ok(ArchiveFile {
            tenant_id: tenant,
            period,
            part,
            generation,
            object_key: key,
            state: FileState::Staged,
            min_id: Uuid::nil(),
            max_id: Uuid::nil(),
            invoices: 0,
            lines: 0,
            payments: 0,
            events: 0,
            bytes: 0,
            tail_offset: 0,
            sha256: None,
            sums: serde_json::json!({}),
            schema_version,
            staged_at,
            published_at: None,
            superseded_at: None,
            tail_sha256: None,
            numbers: None,
        })
    }

    /// Gives up a staged or superseded file, so that its object may be deleted. False where the
    /// catalog says otherwise: a published file is never garbage.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_garbage(&self, file: &ArchiveFile) -> Result<bool, StoreError> {
        Ok(self
            .change_file(sql::ARCHIVE_FILE_MARK_GARBAGE, file)
            .await?
            == 1)
    }

    /// The same for a file that was published, and each time before the deletion of its object is
    /// asked for: not while its year is on legal hold, also one that is set at this moment. Whoever
    /// sets one later is told of the deletion for as long as it may take effect, unless
    /// [`Store::forget_file`] tells that it has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retire_file(&self, file: &ArchiveFile) -> Result<Retired, StoreError> {
        let (tenant, month) = (file.tenant_id, file.period.to_string());
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        let set = retention::share(&tx, tenant, file.period.year).await?;
        if set.is_some_and(|set| set.legal_hold) {
            return Ok(Retired::Held);
        }
        let params: [&(dyn ToSql + Sync); 5] =
            [&tenant.0, &month, &file.part, &file.generation, &now()];
        let marked = tx.execute(sql::ARCHIVE_FILE_RETIRE, &params).await?;
        tx.commit().await?;
        Ok(match marked {
            1 => Retired::Done,
            _ => Retired::Changed,
        })
    }

    /// Deletes the row of a garbage file whose object is gone. False where it has to stay: a key
    /// that readers may remember, or that a late deletion may reach, is never used again, and the
    /// last row of a year sees to that. Takes the tenant's tiering lock: nobody else may forget
    /// files of it meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_file(&self, file: &ArchiveFile) -> Result<bool, StoreError> {
        let conn = self.inner.cluster.owner(file.tenant_id).get().await?;
        let (tenant, month) = (file.tenant_id.0, file.period.to_string());
        let (first, last) = periods_of_year(file.period);
        let (part, generation) = (file.part, file.generation);
        // Two statements of one table each: Citus does not plan a prepared one over both for one
        // shard.
        let later = conn
            .query_opt(
                sql::ARCHIVE_FILE_LATER,
                &[&tenant, &first, &last, &generation],
            )
            .await?;
        let gone = conn
            .execute(
                sql::ARCHIVE_FILE_FORGET,
                &[&tenant, &month, &part, &generation, &later.is_some()],
            )
            .await?;
        if gone == 0 {
            note_deletion(&conn, file, None).await?;
        }
        Ok(gone == 1)
    }

    /// After [`Store::retire_file`], where the deletion was not asked for after all: what is known
    /// of it is what was before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw_deletion(&self, file: &ArchiveFile) -> Result<(), StoreError> {
        let before = match file.state {
            FileState::Garbage => file.superseded_at,
            _ => None,
        };
        let conn = self.inner.cluster.owner(file.tenant_id).get().await?;
        Ok(note_deletion(&conn, file, before).await?)
    }

    /// Enters which numbers a file of an older release may have; what is known already stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn describe_numbers(
        &self,
        file: &ArchiveFile,
        numbers: &NumberRanges,
    ) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(file.tenant_id).get().await?;
        let (tenant, month) = (file.tenant_id.0, file.period.to_string());
        let numbers = numbers.to_json();
        let params: [&(dyn ToSql + Sync); 5] =
            [&tenant, &month, &file.part, &file.generation, &numbers];
        conn.execute(sql::ARCHIVE_FILE_DESCRIBE_NUMBERS, &params)
            .await?;
        Ok(())
    }

    async fn change_file(&self, statement: &str, file: &ArchiveFile) -> Result<u64, StoreError> {
        let conn = self.inner.cluster.owner(file.tenant_id).get().await?;
        let month = file.period.to_string();
        Ok(conn
            .execute(
                statement,
                &[&file.tenant_id.0, &month, &file.part, &file.generation],
            )
            .await?)
    }

    /// A tenant's files in the given states, by (period, part, generation), after a cursor of that
    /// form.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn archive_files(
        &self,
        tenant: TenantId,
        states: &[FileState],
        after: Option<(Period, i32, i32)>,
        limit: usize,
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let states: Vec<&str> = states.iter().map(|s| s.as_str()).collect();
        let (period, part, generation) = match after {
            Some((p, part, generation)) => (Some(p.to_string()), part, generation),
            None => (None, 0, 0),
        };
        let limit = bounded(limit);
        self.files(
            tenant,
            sql::ARCHIVE_FILE_LIST,
            &[&tenant.0, &states, &period, &part, &generation, &limit],
        )
        .await
    }

    /// Published files that may hold the invoice, but for those whose copy a recall has put out of
    /// date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn archive_files_for_id(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let month = Period::of(id);
        let periods = [month, month.year()].map(|period| period.to_string());
        let conn = self.lend(tenant).await?;
        let statement = conn.prepare_cached(sql::ARCHIVE_FILE_FOR_ID).await?;
        let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &&periods[..], &id];
        let (rows, recalled_at) = tokio::try_join!(
            async { Ok(conn.query(&statement, &params).await?) },
            self.recalled_at(&conn, tenant, id),
        )?;
        let mut files = rows
            .iter()
            .map(from_row)
            .collect::<Result<Vec<_>, StoreError>>()?;
        files.retain(|file| file.published_at > recalled_at);
        Ok(files)
    }

    /// Published files that may hold ids below `before`, the one with the latest id first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn archive_files_before(
        &self,
        tenant: TenantId,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let limit = bounded(limit);
        self.files(
            tenant,
            sql::ARCHIVE_FILE_BEFORE,
            &[&tenant.0, &before, &limit],
        )
        .await
    }

    /// Published files of a year.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn archive_files_of_year(
        &self,
        tenant: TenantId,
        year: i16,
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let years = vec![year];
        self.files(tenant, sql::ARCHIVE_FILE_OF_YEARS, &[&tenant.0, &years])
            .await
    }

    async fn files(
        &self,
        tenant: TenantId,
        query: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<ArchiveFile>, StoreError> {
        let conn = self.lend(tenant).await?;
        let statement = conn.prepare_cached(query).await?;
        conn.query(&statement, params)
            .await?
            .iter()
            .map(from_row)
            .collect()
    }
}

async fn note_deletion(
    conn: &Object,
    file: &ArchiveFile,
    asked: Option<DateTime<Utc>>,
) -> Result<(), tokio_postgres::Error> {
    let (tenant, month) = (file.tenant_id.0, file.period.to_string());
    let params: [&(dyn ToSql + Sync); 5] = [&tenant, &month, &file.part, &file.generation, &asked];
    conn.execute(sql::ARCHIVE_FILE_NOTE_DELETION, &params)
        .await?;
    Ok(())
}

/// The first and the last period of the catalog that are of the year.
fn periods_of_year(period: Period) -> (String, String) {
    let december = Period {
        month: 12,
        ..period
    };
    (period.year().to_string(), december.to_string())
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_LIST)).unwrap_or(0)
}
