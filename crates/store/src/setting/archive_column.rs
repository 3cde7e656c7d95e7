//! Keys of `metadata` that a tenant declares, which the archive makes columns of.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use sheaf_model::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error::commit_failed;
use crate::tenant::now;
use crate::{Expected, NewEvent, Origin, Store, StoreError, sql};

/// Keys of a tenant, at most: each costs every file a column.
pub const MAX_METADATA_COLUMNS: usize = 16;
/// Attempts when two requests write at once.
const ATTEMPTS: u32 = 3;

/// What a tenant has declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataColumns {
    /// In the order of their columns, [`MAX_METADATA_COLUMNS`] at most.
    pub keys: Arc<[String]>,
    /// Counts changes, from 1; 0 where nothing was ever declared.
    pub version: i64,
    /// Of the last change. Microseconds, UTC.
    pub modified_at: Option<DateTime<Utc>>,
}

/// A declaration to be written.
#[derive(Clone, Debug)]
pub struct NewMetadataColumns {
    /// Whose.
    pub tenant: TenantId,
    /// All of them: those that are left out are columns no more.
    pub keys: Vec<String>,
    /// The version that the client means; any, where it does not say. 0 where there is none.
    pub expected: Option<Expected>,
    /// Who, and in which request.
    pub origin: Origin,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutMetadataColumns {
    /// It is stored. The same again changes nothing, neither version nor trail.
    Stored(MetadataColumns),
    /// The client has seen another version than this one; 0 where there is none yet.
    VersionMismatch(i64),
}

impl Store {
    /// What the tenant has declared.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn metadata_columns(&self, tenant: TenantId) -> Result<MetadataColumns, StoreError> {
        let conn = self.lend(tenant).await?;
        let get = conn.prepare_cached(sql::METADATA_COLUMNS_GET).await?;
        let row = conn.query_opt(&get, &[&tenant.0]).await?;
        Ok(declared(row.as_ref()))
    }

    /// Writes a declaration, and the event that tells old and new, in one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_metadata_columns(
        &self,
        new: &NewMetadataColumns,
    ) -> Result<PutMetadataColumns, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(put) = self.try_put_metadata_columns(new).await? {
                return Ok(put);
            }
        }
        Err(StoreError::Contended {
            what: "the declared columns",
        })
    }

    /// One attempt; `None` where somebody else was faster.
    async fn try_put_metadata_columns(
        &self,
        new: &NewMetadataColumns,
    ) -> Result<Option<PutMetadataColumns>, StoreError> {
        let (tenant, at, origin) = (new.tenant, now(), new.origin.clone());
        let kind = "metadata_columns.updated";
        let mut event = NewEvent::of_tenant(tenant, kind, origin, String::new(), at);
        self.ensure_years(&BTreeSet::from([event.year()])).await?;
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        let row = tx
            .query_opt(sql::METADATA_COLUMNS_LOCK, &[&tenant.0])
            .await?;
        let old = declared(row.as_ref());
        let expected = new.expected.as_ref();
        if expected.is_some_and(|expected| !expected.allows(old.version)) {
            return Ok(Some(PutMetadataColumns::VersionMismatch(old.version)));
        }
        if *old.keys == *new.keys {
            return Ok(Some(PutMetadataColumns::Stored(old)));
        }
        let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &new.keys, &old.version, &at];
        if tx.execute(sql::METADATA_COLUMNS_PUT, &params).await? != 1 {
            return Ok(None);
        }
        event.data = json!({"old": &*old.keys, "new": new.keys}).to_string();
        event.write_in(&tx, tenant).await?;
        tx.commit().await.map_err(commit_failed)?;
        Ok(Some(PutMetadataColumns::Stored(MetadataColumns {
            keys: new.keys.clone().into(),
            version: old.version + 1,
            modified_at: Some(at),
        })))
    }
}

fn declared(row: Option<&Row>) -> MetadataColumns {
    let keys: Vec<String> = row.map(|row| row.get(0)).unwrap_or_default();
    MetadataColumns {
        keys: keys.into(),
        version: row.map_or(0, |row| row.get(1)),
        modified_at: row.map(|row| row.get(2)),
    }
}
