//! Tenants: a reference table, written through the coordinator, read on any node.

pub(crate) mod api_key;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sheaf_model::{Code, TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::Page;
use crate::idempotency::key::{CreateOutcome, IdemKey, Replay};
use crate::{Store, StoreError, idempotency, sql};
use sheaf_cluster::error::{Failure, classify, commit_failed};
use sheaf_cluster::node::lent::Lent;
use sheaf_cluster::rows::now;

/// A customer of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Shard key of everything it owns.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// The platform's own key, unique.
    pub external_id: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// For people.
    pub name: String,
    /// The platform's own key.
    pub external_id: Option<String>,
}

/// Under this id, which is no tenant's, the platform's own idempotency keys are kept.
pub const PLATFORM: TenantId = TenantId(Uuid::nil());

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
        let answer = Replay {
            status: 201,
            location: Some(format!("/v1/tenants/{}", tenant.id)),
            body: answer(&tenant),
        };
        // A reference table is locked on every node, the key on one: two transactions can meet on
        // both.
        self.retry(|| self.try_create_tenant(&tenant, idem, &answer))
            .await
    }

    async fn try_create_tenant(
        &self,
        tenant: &Tenant,
        idem: Option<&IdemKey>,
        answer: &Replay,
    ) -> Result<CreateOutcome<Tenant>, StoreError> {
        let mut conn = self.lend_coordinator(PLATFORM).await?;
        let tx = conn.transaction().await?;
        // The attempt before may have committed, and only its answer been lost.
        if tx
            .query_opt(sql::TENANT_GET, &[&tenant.id.0])
            .await?
            .is_some()
        {
            return Ok(CreateOutcome::Created(tenant.clone()));
        }
        let (owner, at) = (PLATFORM, tenant.created_at);
        if let Some(replay) = idempotency::claim(&tx, owner, idem, at).await? {
            return Ok(CreateOutcome::Replay(replay));
        }
        let params: [&(dyn ToSql + Sync); 4] =
            [&tenant.id.0, &tenant.name, &tenant.external_id, &at];
        unique_as(
            Code::DuplicateExternalId,
            "external_id is taken by another tenant",
            tx.execute(sql::TENANT_CREATE, &params).await,
        )?;
        idempotency::answer(&tx, owner, idem, answer).await?;
        tx.commit().await.map_err(commit_failed)?;
        Ok(CreateOutcome::Created(tenant.clone()))
    }

    /// One tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let read = |conn: Lent| async move {
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
        let conn = self.lend_coordinator(PLATFORM).await?;
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
        let mut conn = self.lend_coordinator(PLATFORM).await?;
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

fn unique_as(
    code: Code,
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

fn tenant(row: &Row) -> Tenant {
    Tenant {
        id: TenantId(row.get(0)),
        name: row.get(1),
        external_id: row.get(2),
        created_at: row.get(3),
    }
}
