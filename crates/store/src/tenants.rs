//! Tenants and their API keys: reference tables, written through the coordinator, read on any node.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::{Failure, classify};
use crate::idempotency::{self, Stored};
use crate::types::{ApiKey, CreateOutcome, IdemKey, NewApiKey, NewTenant, Page, Role, Tenant};
use crate::{Store, StoreError, sql};

/// API keys of one tenant, at most; revoked ones count, since they stay listed.
pub const MAX_API_KEYS: i64 = 1_000;

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
        tx.commit().await?;
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
        tx.commit().await?;
        Ok(read(conn.query(&find, &[&external_ids]).await?))
    }

    /// Makes an API key. `answer` renders the body that a replay will give again; it must not hold the key itself.
    ///
    /// # Errors
    /// Conflict `tenant_not_found`, or `too_many_api_keys` beyond [`MAX_API_KEYS`].
    pub async fn create_api_key(
        &self,
        tenant: TenantId,
        new: NewApiKey,
        idem: Option<&IdemKey>,
        answer: impl Fn(&ApiKey) -> Vec<u8> + Send + Sync,
    ) -> Result<CreateOutcome<ApiKey>, StoreError> {
        let now = now();
        let key = ApiKey {
            id: id::new_id(now),
            tenant_id: tenant,
            name: new.name,
            role: new.role,
            prefix: new.prefix,
            created_at: now,
            revoked_at: None,
        };
        let mut conn = self.inner.cluster.coordinator().get().await?;
        let tx = conn.transaction().await?;
        if let Some(stored) = replay(&tx, tenant, idem).await? {
            return Ok(stored);
        }
        if tx.query_opt(sql::TENANT_GET, &[&tenant.0]).await?.is_none() {
            return Err(StoreError::Conflict {
                code: "tenant_not_found",
                detail: "no such tenant".into(),
            });
        }
        if tx
            .query_one(sql::API_KEY_COUNT, &[&tenant.0])
            .await?
            .get::<_, i64>(0)
            >= MAX_API_KEYS
        {
            let detail =
                format!("a tenant has at most {MAX_API_KEYS} API keys, revoked ones included");
            return Err(StoreError::Conflict {
                code: "too_many_api_keys",
                detail,
            });
        }
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &key.id,
            &tenant.0,
            &key.name,
            &key.role.as_str(),
            &key.prefix,
            &new.hash.as_slice(),
            &now,
        ];
        tx.execute(sql::API_KEY_CREATE, &params).await?;
        if let Some(idem) = idem {
            let location = format!("/v1/tenants/{tenant}/api-keys/{}", key.id);
            idempotency::store(&tx, tenant, idem, &location, &answer(&key), now).await?;
        }
        tx.commit().await?;
        Ok(CreateOutcome::Created(key))
    }

    /// All keys of a tenant, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let conn = self.inner.cluster.coordinator().get().await?;
        conn.query(sql::API_KEY_LIST, &[&tenant.0, &MAX_API_KEYS])
            .await?
            .iter()
            .map(api_key)
            .collect()
    }

    /// Revokes a key; `None` where the tenant has no such key. Revoking twice changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_api_key(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<ApiKey>, StoreError> {
        let conn = self.inner.cluster.coordinator().get().await?;
        conn.query_opt(sql::API_KEY_REVOKE, &[&tenant.0, &id, &now()])
            .await?
            .as_ref()
            .map(api_key)
            .transpose()
    }

    /// The key with this SHA-256, revoked or not. Callers cache it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_api_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let read = |conn: Object| async move {
            let find = conn.prepare_cached(sql::API_KEY_FIND).await?;
            let found = conn.query_opt(&find, &[&hash.as_slice()]).await?;
            found.as_ref().map(api_key).transpose()
        };
        self.inner.cluster.read_anywhere(read).await
    }
}

/// The answer of an earlier request with the same key, if there is one.
async fn replay<T>(
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

fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.get(0),
        tenant_id: TenantId(row.get(1)),
        name: row.get(2),
        role: row
            .get::<_, &str>(3)
            .parse::<Role>()
            .map_err(|()| StoreError::Corrupt("API key role".into()))?,
        prefix: row.get(4),
        created_at: row.get(5),
        revoked_at: row.get(6),
    })
}
