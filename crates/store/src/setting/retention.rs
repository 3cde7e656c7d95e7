//! Retention: how long a tenant's documents of a year must stay as they are.
//!
//! Tax law wants invoices kept unchanged for years (in Germany eight, §147 AO), and goes before a
//! customer's wish to be forgotten (GDPR, article 17(3)(b)). Without a setting nothing is held.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use deadpool_postgres::Transaction;
use serde_json::json;
use sheaf_model::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error::commit_failed;
use crate::tenant::now;
use crate::{Expected, Held, NewEvent, Origin, Store, StoreError, sql};

/// The setting of one year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of the documents' ids, 1970-2199.
    pub year: i16,
    /// Nothing may change, and no copy be deleted, until it is lifted.
    pub legal_hold: bool,
    /// The first day on which the documents may change.
    pub keep_until: Option<NaiveDate>,
    /// Counts changes, from 1.
    pub version: i64,
    /// Of the last change. Microseconds, UTC.
    pub modified_at: DateTime<Utc>,
}

impl Retention {
    /// Whether documents must stay as they are on a day.
    #[must_use]
    pub fn holds(&self, on: NaiveDate) -> bool {
        self.legal_hold || self.keep_until.is_some_and(|until| on < until)
    }

    /// As a receipt of an erasure says it.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            year: self.year,
            legal_hold: self.legal_hold,
            keep_until: self.keep_until,
        }
    }
}

/// A setting to be written.
#[derive(Clone, Debug)]
pub struct NewRetention {
    /// Whose.
    pub tenant: TenantId,
    /// Of the documents' ids, 1970-2199.
    pub year: i16,
    /// As [`Retention::legal_hold`].
    pub legal_hold: bool,
    /// As [`Retention::keep_until`].
    pub keep_until: Option<NaiveDate>,
    /// The version that the client means; any, where it does not say. 0 where there is none.
    pub expected: Option<Expected>,
    /// Who, and in which request.
    pub origin: Origin,
}

/// What became of a setting that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutRetention {
    /// It is stored. The same again changes nothing, neither version nor trail.
    Stored(Retention),
    /// The hold is stored, and nothing that it forbids begins any more. But the deletion of an
    /// object of the year was asked for before, and not answered: it may take effect until then.
    /// The same request is answered as usual afterwards.
    Deleting(DateTime<Utc>),
    /// The client has seen another version than this one; 0 where there is none yet.
    VersionMismatch(i64),
}

/// How long the work of [`Store::unless_on_hold`] may take: less than a server lets a transaction
/// wait for its client.
const WORK_UNDER_LOCK: Duration = Duration::from_secs(30);
/// For how long a request to delete an object may take effect after it was sent, whoever has given
/// it up: S3 refuses one whose signature is older than 15 minutes. The rest is for clocks that
/// differ, and for attempts that are signed later.
const DELETION_LASTS: TimeDelta = TimeDelta::minutes(17);
/// Attempts when two requests write the same year at once.
const ATTEMPTS: u32 = 3;

impl Store {
    /// The tenant's settings, by year.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retention(&self, tenant: TenantId) -> Result<Vec<Retention>, StoreError> {
        let conn = self.lend(tenant).await?;
        let list = conn.prepare_cached(sql::RETENTION_LIST).await?;
        let rows = conn.query(&list, &[&tenant.0]).await?;
        Ok(rows.iter().map(setting).collect())
    }

    /// Does what a legal hold forbids, if the year is not on one. Whoever sets one meanwhile waits
    /// until it has ended, so that nothing happens after a hold was answered. `None` where the year
    /// is on hold: nothing was done.
    ///
    /// # Errors
    /// When the database fails, and where `work` takes too long for somebody to wait for it.
    pub async fn unless_on_hold<T>(
        &self,
        tenant: TenantId,
        year: i16,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, StoreError> {
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        let set = share(&tx, tenant, year).await?;
        if set.is_some_and(|set| set.legal_hold) {
            return Ok(None);
        }
        let done = tokio::time::timeout(WORK_UNDER_LOCK, work).await;
        let done = done.map_err(|_| StoreError::Timeout)?;
        tx.commit().await?;
        Ok(Some(done))
    }

    /// Writes the setting of a year, and the event that tells old and new, in one transaction. A
    /// hold is answered as stored only when no deletion that began before it can take effect any
    /// more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_retention(&self, new: &NewRetention) -> Result<PutRetention, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(put) = self.try_put_retention(new).await? {
                return Ok(put);
            }
        }
        Err(StoreError::Contended {
            what: "the retention of this year",
        })
    }

    /// One attempt; `None` where somebody else was faster.
    async fn try_put_retention(
        &self,
        new: &NewRetention,
    ) -> Result<Option<PutRetention>, StoreError> {
        let (tenant, at) = (new.tenant, now());
        let origin = new.origin.clone();
        let mut event = NewEvent::of_tenant(tenant, "retention.updated", origin, String::new(), at);
        self.ensure_years(&BTreeSet::from([event.year()])).await?;
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        let row = tx
            .query_opt(sql::RETENTION_LOCK, &[&tenant.0, &new.year])
            .await?;
        // Version 0 is a row that was made to be locked.
        let old = row.as_ref().map(setting).filter(|old| old.version > 0);
        let current = old.map_or(0, |old| old.version);
        let expected = new.expected.as_ref();
        if expected.is_some_and(|expected| !expected.allows(current)) {
            return Ok(Some(PutRetention::VersionMismatch(current)));
        }
        if let Some(old) = old
            && (old.legal_hold, old.keep_until) == (new.legal_hold, new.keep_until)
        {
            let deleting = deleting(&tx, new, at).await?;
            return Ok(Some(deleting.unwrap_or(PutRetention::Stored(old))));
        }
        let params: [&(dyn ToSql + Sync); 6] = [
            &tenant.0,
            &new.year,
            &new.legal_hold,
            &new.keep_until,
            &current,
            &at,
        ];
        if tx.execute(sql::RETENTION_PUT, &params).await? != 1 {
            return Ok(None);
        }
        let old =
            old.map(|old| json!({"legal_hold": old.legal_hold, "keep_until": old.keep_until}));
        let now = json!({"legal_hold": new.legal_hold, "keep_until": new.keep_until});
        event.data = json!({"year": new.year, "old": old, "new": now}).to_string();
        event.write_in(&tx, tenant).await?;
        let deleting = deleting(&tx, new, at).await?;
        tx.commit().await.map_err(commit_failed)?;
        let stored = PutRetention::Stored(Retention {
            year: new.year,
            legal_hold: new.legal_hold,
            keep_until: new.keep_until,
            version: current + 1,
            modified_at: at,
        });
        Ok(Some(deleting.unwrap_or(stored)))
    }
}

/// Whether a hold is to be answered while a deletion may still break it. In the transaction that
/// has the year's setting locked: whoever asks for a deletion notes it under the same lock before.
async fn deleting(
    tx: &Transaction<'_>,
    new: &NewRetention,
    at: DateTime<Utc>,
) -> Result<Option<PutRetention>, tokio_postgres::Error> {
    if !new.legal_hold {
        return Ok(None);
    }
    let params: [&(dyn ToSql + Sync); 3] = [&new.tenant.0, &new.year, &(at - DELETION_LASTS)];
    let row = tx.query_one(sql::ARCHIVE_FILE_DELETING, &params).await?;
    let asked: Option<DateTime<Utc>> = row.get(0);
    Ok(asked.map(|asked| PutRetention::Deleting(asked + DELETION_LASTS)))
}

/// What is set for the year's documents, as the transaction that changes them has to know it: from
/// here on, whoever sets it waits until that one has ended. So a hold that was answered is never
/// broken by what began before.
pub(crate) async fn share(
    tx: &Transaction<'_>,
    tenant: TenantId,
    year: i16,
) -> Result<Option<Retention>, tokio_postgres::Error> {
    tx.execute(sql::RETENTION_ENSURE, &[&tenant.0, &year, &now()])
        .await?;
    let row = tx
        .query_opt(sql::RETENTION_SHARE, &[&tenant.0, &year])
        .await?;
    Ok(row.as_ref().map(setting).filter(|set| set.version > 0))
}

fn setting(row: &Row) -> Retention {
    Retention {
        year: row.get(0),
        legal_hold: row.get(1),
        keep_until: row.get(2),
        version: row.get(3),
        modified_at: row.get(4),
    }
}
