//! The seller of a tenant's documents: one row a tenant, with its version, and an event for every
//! change. Each version is kept: an issued document shows the one that it was issued with.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sheaf_model::TenantId;
use tokio_postgres::Row;

use crate::error::commit_failed;
use crate::tenant::now;
use crate::{Expected, NewEvent, Origin, Store, StoreError, sql};

/// Attempts when two requests write the first profile at once.
const ATTEMPTS: u32 = 3;

/// A tenant's profile, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredProfile {
    /// The document.
    pub profile: Value,
    /// Counts changes, from 1.
    pub version: i64,
    /// Of the last change. Microseconds, UTC.
    pub modified_at: DateTime<Utc>,
}

/// A profile to be written.
#[derive(Clone, Debug)]
pub struct NewProfile {
    /// Whose.
    pub tenant: TenantId,
    /// The whole document.
    pub profile: Value,
    /// The version that the client means; any, where it does not say. 0 where there is none.
    pub expected: Option<Expected>,
    /// Who, and in which request.
    pub origin: Origin,
}

/// What became of a profile that was to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum PutProfile {
    /// It is stored. The same document again changes nothing, neither version nor trail.
    Stored(StoredProfile),
    /// The client means another version than this one; 0 where there is none yet.
    VersionMismatch(i64),
}

impl Store {
    /// The tenant's profile, if it has set one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile(&self, tenant: TenantId) -> Result<Option<StoredProfile>, StoreError> {
        let conn = self.lend(tenant).await?;
        let get = conn.prepare_cached(sql::PROFILE_GET).await?;
        let row = conn.query_opt(&get, &[&tenant.0]).await?;
        Ok(row.as_ref().map(stored))
    }

    /// The profile that an issued document shows: the version that it was issued with, or the
    /// oldest that is kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile_of(
        &self,
        tenant: TenantId,
        version: Option<i64>,
    ) -> Result<Option<StoredProfile>, StoreError> {
        let conn = self.lend(tenant).await?;
        let get = conn.prepare_cached(sql::PROFILE_OF_DOCUMENT).await?;
        let row = conn.query_opt(&get, &[&tenant.0, &version]).await?;
        Ok(row.as_ref().map(stored))
    }

    /// Writes the tenant's profile, keeps it as a version, and tells old and new in an event, in
    /// one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_profile(&self, new: &NewProfile) -> Result<PutProfile, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(put) = self.try_put_profile(new).await? {
                return Ok(put);
            }
        }
        // Nothing deletes a profile: whoever was first is found by the next attempt.
        Err(StoreError::Contended {
            what: "the profile",
        })
    }

    /// One attempt; `None` where somebody else wrote the first profile meanwhile.
    async fn try_put_profile(&self, new: &NewProfile) -> Result<Option<PutProfile>, StoreError> {
        let (tenant, at) = (new.tenant, now());
        let origin = new.origin.clone();
        let mut event = NewEvent::of_tenant(tenant, "profile.updated", origin, String::new(), at);
        self.ensure_years(&BTreeSet::from([event.year()])).await?;
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        let found = tx.query_opt(sql::PROFILE_LOCK, &[&tenant.0]).await?;
        let found = found.as_ref().map(stored);
        let current = found.as_ref().map_or(0, |found| found.version);
        let expected = new.expected.as_ref();
        if expected.is_some_and(|expected| !expected.allows(current)) {
            return Ok(Some(PutProfile::VersionMismatch(current)));
        }
        let old = found.as_ref().map(|found| found.profile.clone());
        if let Some(found) = found {
            if found.profile == new.profile {
                return Ok(Some(PutProfile::Stored(found)));
            }
            tx.execute(sql::PROFILE_UPDATE, &[&tenant.0, &new.profile, &at])
                .await?;
        } else {
            let created = tx
                .execute(sql::PROFILE_CREATE, &[&tenant.0, &new.profile, &at])
                .await?;
            if created == 0 {
                return Ok(None);
            }
        }
        let kept = current + 1;
        tx.execute(sql::PROFILE_KEEP, &[&tenant.0, &kept, &new.profile, &at])
            .await?;
        event.data = json!({"old": old, "new": new.profile}).to_string();
        event.write_in(&tx, tenant).await?;
        tx.commit().await.map_err(commit_failed)?;
        Ok(Some(PutProfile::Stored(StoredProfile {
            profile: new.profile.clone(),
            version: kept,
            modified_at: at,
        })))
    }
}

fn stored(row: &Row) -> StoredProfile {
    StoredProfile {
        profile: row.get(0),
        version: row.get(1),
        modified_at: row.get(2),
    }
}
