//! Tenants: a reference table, written through the coordinator, read on any node.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::{Failure, classify, commit_failed};
use crate::idempotency::{self, Stored};
use crate::types::{CreateOutcome, IdemKey, NewTenant, Page, Tenant};
use crate::{Store, StoreError, sql};

impl Store {
    /// Makes a tenant. `answer` renders the body that a replay will give again.
    ///
    /// # Errors
    /// Conflict `duplicate_external_id`.
    pub async fn create_tenant(
        &self,
        new: NewTenant,
        idem: Option<&IdemKey>,
        answer: impl Fn(&Tenant) -> Vec<u8> + Send + Sync,
    ) -> Result<CreateOutcome<Tenant>, StoreError> {
        let now = now();
        let tenant = Tenant {
            id: TenantId(id::new_id(now)),
            name: new.name,
            external_id: new.external_id,
            created_at: now,
        };
        let mut conn = self.inner.cluster.coordinator().get().await?;
        let tx = conn.transaction().await?;
        if let Some(stored) = replay(&tx, TenantId(Uuid::nil()), idem).await? {
            return Ok(stored);
        }
        let inserted = tx
            .execute(
                sql::TENANT_CREATE,
                &[&tenant.id.0, &tenant.name, &tenant.external_id, &now],
            )
            .await;
        unique_as(
            "duplicate_external_id",
            "external_id is taken by another tenant",
            inserted,
        )?;
        if let Some(idem) = idem {
            let location = format!("/v1/tenants/{}", tenant.id);
            idempotency::store(
                &tx,
                TenantId(Uuid::nil()),
                idem,
                &location,
                &answer(&tenant),
                now,
            )
            .await?;
        }
        tx.commit().await.map_err(commit_failed)?;
        Ok(CreateOutcome::Created(tenant))
    }

    /// One tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let read = |conn: Object| async move {
            let get = conn.prepare_cached(sql::TENANT_GET).await?;
            Ok(conn.query_opt(&get, &[&id.0]).await?.as_ref().map(tenant))
        };
        self.inner.cluster.read_anywhere(read).await
    }

    /// All tenants, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tenants(
        &self,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Tenant>, StoreError> {
        let mut items = self
            .tenant_rows(sql::TENANT_LIST, before, limit.saturating_add(1))
            .await?;
        let has_more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, has_more })
    }

    /// All tenants, oldest first, for work that visits each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_tenants_page(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Tenant>, StoreError> {
        self.tenant_rows(sql::TENANT_PAGE_ASCENDING, after, limit)
            .await
    }

    async fn tenant_rows(
        &self,
        query: &str,
        cursor: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Tenant>, StoreError> {
        let conn = self.inner.cluster.coordinator().get().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = conn
            .query(&conn.prepare_cached(query).await?, &[&cursor, &limit])
            .await?;
        Ok(rows.iter().map(tenant).collect())
    }

    /// The ids of tenants by the platform's own keys; unknown ones are left out, or made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenants_by_external_id(
        &self,
        external_ids: &[String],
        create_missing: bool,
    ) -> Result<HashMap<String, TenantId>, StoreError> {
        let mut conn = self.inner.cluster.coordinator().get().await?;
        let find = conn.prepare_cached(sql::TENANT_FIND_EXTERNAL_IDS).await?;
        let read = |rows: Vec<Row>| -> HashMap<String, TenantId> {
            rows.iter()
                .map(|r| (r.get(1), TenantId(r.get(0))))
                .collect()
        };
        let found = read(conn.query(&find, &[&external_ids]).await?);
        if !create_missing || external_ids.iter().all(|e| found.contains_key(e)) {
            return Ok(found);
        }
        let now = now();
        let tx = conn.transaction().await?;
        let create = tx.prepare_cached(sql::TENANT_CREATE_MISSING).await?;
        // Sorted, so that two uploads that make the same tenants do not deadlock.
        let mut missing: Vec<&String> = external_ids
            .iter()
            .filter(|e| !found.contains_key(*e))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for external_id in missing {
            tx.execute(&create, &[&id::new_id(now), external_id, &now])
                .await?;
        }
        tx.commit().await.map_err(commit_failed)?;
        Ok(read(conn.query(&find, &[&external_ids]).await?))
    }
}

/// The answer of an earlier request with the same key, if there is one.
pub(crate) async fn replay<T>(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: Option<&IdemKey>,
) -> Result<Option<CreateOutcome<T>>, StoreError> {
    let Some(idem) = idem else { return Ok(None) };
    Ok(match idempotency::stored(tx, tenant, &idem.key).await? {
        Some(Stored::Answered {
            fingerprint,
            replay,
        }) if fingerprint == idem.fingerprint => Some(CreateOutcome::Replay(replay)),
        Some(_) => Some(CreateOutcome::IdemMismatch),
        None => None,
    })
}

fn unique_as(
    code: &'static str,
    detail: &str,
    result: Result<u64, tokio_postgres::Error>,
) -> Result<(), StoreError> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if classify(&e) == Failure::Unique => Err(StoreError::Conflict {
            code,
            detail: detail.into(),
        }),
        Err(e) => Err(e.into()),
    }
}

/// Microseconds, as PostgreSQL keeps them.
pub(crate) fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

fn tenant(row: &Row) -> Tenant {
    Tenant {
        id: TenantId(row.get(0)),
        name: row.get(1),
        external_id: row.get(2),
        created_at: row.get(3),
    }
}
