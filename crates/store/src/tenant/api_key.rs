//! API keys of tenants: a reference table, written through the coordinator, read on any node. Each
//! change writes its event in the same transaction.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Transaction;
use serde_json::json;
use sheaf_model::{Code, TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::event::origin::Origin;
use crate::event::write::NewEvent;
use crate::idempotency::key::{CreateOutcome, IdemKey, Replay};
use crate::{Store, StoreError, idempotency, sql};
use sheaf_cluster::Error;
use sheaf_cluster::error::commit_failed;
use sheaf_cluster::node::lent::Lent;
use sheaf_cluster::rows::now;

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything within the tenant.
    Admin,
    /// Reads and writes documents.
    Finance,
    /// Reads.
    Viewer,
}

impl Role {
    /// As stored and answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Finance => "finance",
            Self::Viewer => "viewer",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "admin" => Ok(Self::Admin),
            "finance" => Ok(Self::Finance),
            "viewer" => Ok(Self::Viewer),
            _ => Err(()),
        }
    }
}

/// An API key; the key itself is known to its owner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Handle for listing and revoking.
    pub id: Uuid,
    /// Whose data it opens.
    pub tenant_id: TenantId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The readable start of the key, to recognise it by.
    pub prefix: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
    /// The key that it replaces.
    pub rotated_from: Option<Uuid>,
}

/// An API key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The readable start of the key.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// When it stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key's successor, and how long both work.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The readable start of the new key.
    pub prefix: String,
    /// SHA-256 of the whole new key.
    pub hash: [u8; 32],
    /// When the new key stops to open anything.
    pub expires_at: Option<DateTime<Utc>>,
    /// By the caller's clock, which is the one that keys expire by.
    pub now: DateTime<Utc>,
    /// The old key stops so long after it, or when it would have anyway.
    pub overlap: Duration,
}

/// What a change of API keys comes with.
#[derive(Clone, Debug)]
pub struct KeyCause {
    /// Who changes it, and in which request.
    pub origin: Origin,
    /// The client's idempotency key, if it sent one.
    pub idem: Option<IdemKey>,
    /// Path of the collection that the answer's `Location` is in.
    pub collection: String,
}

/// API keys of one tenant, at most; those that work no more count as well while they stay listed.
pub const MAX_API_KEYS: i64 = 1_000;
/// Where room is needed, keys go that have not worked for so long.
const PURGE_AFTER: TimeDelta = TimeDelta::days(30);

impl Store {
    /// Makes an API key. `answer` renders the body that a replay will give again; it must not hold
    /// the key itself.
    ///
    /// # Errors
    /// Conflict `tenant_not_found`, or `too_many_api_keys` beyond [`MAX_API_KEYS`].
    pub async fn create_api_key(
        &self,
        tenant: TenantId,
        new: NewApiKey,
        cause: &KeyCause,
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
            expires_at: new.expires_at,
            rotated_from: None,
        };
        self.ensure_year_of(key.id).await?;
        // A reference table is locked on every node: a key can deadlock with events of its tenant
        // on one of them.
        self.retry(|| self.try_create_api_key(&key, &new.hash, cause, answer(&key)))
            .await
    }

    async fn try_create_api_key(
        &self,
        key: &ApiKey,
        hash: &[u8; 32],
        cause: &KeyCause,
        answer: Vec<u8>,
    ) -> Result<CreateOutcome<ApiKey>, StoreError> {
        let tenant = key.tenant_id;
        let mut conn = self.lend_coordinator(tenant).await?;
        let tx = conn.transaction().await?;
        // The attempt before may have committed, and only its answer been lost.
        let params: [&(dyn ToSql + Sync); 2] = [&tenant.0, &key.id];
        if tx.query_opt(sql::API_KEY_GET, &params).await?.is_some() {
            return Ok(CreateOutcome::Created(key.clone()));
        }
        let idem = cause.idem.as_ref();
        if let Some(replay) = idempotency::claim(&tx, tenant, idem, key.created_at).await? {
            return Ok(CreateOutcome::Replay(replay));
        }
        if tx.query_opt(sql::TENANT_GET, &[&tenant.0]).await?.is_none() {
            return Err(StoreError::Conflict {
                code: Code::TenantNotFound,
                detail: "no such tenant".into(),
            });
        }
        insert(&tx, key, hash, cause).await?;
        idempotency::answer(&tx, tenant, idem, &answer_of(key, cause, answer)).await?;
        tx.commit().await.map_err(commit_failed)?;
        Ok(CreateOutcome::Created(key.clone()))
    }

    /// Makes a successor of a key, with its name and role, and lets the old one end after the
    /// overlap. `None` where the tenant has no such key. `answer` as for [`Store::create_api_key`].
    ///
    /// # Errors
    /// Conflict `api_key_ended` for a key that is revoked or has expired, `too_many_api_keys`.
    pub async fn rotate_api_key(
        &self,
        tenant: TenantId,
        id: Uuid,
        rotation: Rotation,
        cause: &KeyCause,
        answer: impl Fn(&ApiKey) -> Vec<u8> + Send + Sync,
    ) -> Result<Option<CreateOutcome<ApiKey>>, StoreError> {
        let new = (id::new_id(now()), now());
        let conn = self.lend_coordinator(tenant).await?;
        // Before the partition of its events: an id that nobody has made names any year.
        let params: [&(dyn ToSql + Sync); 2] = [&tenant.0, &id];
        if conn.query_opt(sql::API_KEY_GET, &params).await?.is_none() {
            return Ok(None);
        }
        drop(conn);
        self.ensure_year_of(new.0).await?;
        self.ensure_year_of(id).await?;
        self.retry(|| self.try_rotate_api_key((tenant, id), new, &rotation, cause, &answer))
            .await
            .map(Some)
    }

    async fn try_rotate_api_key(
        &self,
        (tenant, id): (TenantId, Uuid),
        (new_id, now): (Uuid, DateTime<Utc>),
        rotation: &Rotation,
        cause: &KeyCause,
        answer: &(impl Fn(&ApiKey) -> Vec<u8> + Sync),
    ) -> Result<CreateOutcome<ApiKey>, StoreError> {
        let overlap = TimeDelta::from_std(rotation.overlap)
            .map_err(|_| Error::Config("the overlap is too long".into()))?;
        let mut conn = self.lend_coordinator(tenant).await?;
        let tx = conn.transaction().await?;
        // The attempt before may have committed, and only its answer been lost.
        let made = tx
            .query_opt(sql::API_KEY_GET, &[&tenant.0, &new_id])
            .await?;
        if let Some(row) = made {
            return Ok(CreateOutcome::Created(api_key(&row)?));
        }
        let idem = cause.idem.as_ref();
        if let Some(replay) = idempotency::claim(&tx, tenant, idem, now).await? {
            return Ok(CreateOutcome::Replay(replay));
        }
        let end = rotation.now + overlap;
        let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &id, &end, &rotation.now];
        let Some(row) = tx.query_opt(sql::API_KEY_EXPIRE, &params).await? else {
            return Err(StoreError::Conflict {
                code: Code::ApiKeyEnded,
                detail: "the key is revoked or has expired: there is nothing to rotate".into(),
            });
        };
        let old = api_key(&row)?;
        let key = ApiKey {
            id: new_id,
            created_at: now,
            prefix: rotation.prefix.clone(),
            expires_at: rotation.expires_at,
            rotated_from: Some(id),
            ..old.clone()
        };
        let data = json!({"successor_id": key.id, "expires_at": old.expires_at}).to_string();
        NewEvent::of(id, "api_key.rotated", &cause.origin, data, now)
            .write_in(&tx, tenant)
            .await?;
        insert(&tx, &key, &rotation.hash, cause).await?;
        let body = answer(&key);
        idempotency::answer(&tx, tenant, idem, &answer_of(&key, cause, body)).await?;
        tx.commit().await.map_err(commit_failed)?;
        Ok(CreateOutcome::Created(key))
    }

    /// All keys of a tenant, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let conn = self.lend_coordinator(tenant).await?;
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
        cause: &KeyCause,
    ) -> Result<Option<ApiKey>, StoreError> {
        let now = now();
        let mut conn = self.lend_coordinator(tenant).await?;
        let params: [&(dyn ToSql + Sync); 2] = [&tenant.0, &id];
        let found = conn.query_opt(sql::API_KEY_GET, &params).await?;
        let Some(before) = found.as_ref().map(api_key).transpose()? else {
            return Ok(None);
        };
        if before.revoked_at.is_some() {
            return Ok(Some(before));
        }
        self.ensure_year_of(id).await?;
        let tx = conn.transaction().await?;
        let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &id, &now];
        let Some(row) = tx.query_opt(sql::API_KEY_REVOKE, &params).await? else {
            return Ok(None);
        };
        let key = api_key(&row)?;
        // Somebody else may have come first; that one has written the event.
        if key.revoked_at == Some(now) {
            NewEvent::of(id, "api_key.revoked", &cause.origin, "{}".to_owned(), now)
                .write_in(&tx, tenant)
                .await?;
        }
        tx.commit().await.map_err(commit_failed)?;
        Ok(Some(key))
    }

    /// The key with this SHA-256, whether it still works or not. Callers cache it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_api_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let mut found = self.find_api_keys(std::slice::from_ref(hash)).await?;
        Ok(found.remove(hash))
    }

    /// Those of many keys that there are, by their SHA-256, in one statement: see
    /// [`Store::find_api_key`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_api_keys(
        &self,
        hashes: &[[u8; 32]],
    ) -> Result<HashMap<[u8; 32], ApiKey>, StoreError> {
        let asked: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
        // A node that misses some is no reason to forget those that it has.
        let found = Mutex::new(HashMap::with_capacity(1));
        let read = |conn: Lent| {
            let (asked, found) = (&asked, &found);
            async move {
                let find = conn.prepare_cached(sql::API_KEY_FIND).await?;
                let rows = conn.query(&find, &[asked]).await?;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                for row in &rows {
                    let hash = row.get::<_, &[u8]>(9).try_into();
                    let hash = hash.map_err(|_| Error::Corrupt("API key hash".into()))?;
                    found.insert(hash, api_key(row)?);
                }
                Ok::<_, StoreError>((found.len() == hashes.len()).then_some(()))
            }
        };
        self.inner.cluster.read_anywhere(read).await?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Stores a new key and its event, where there is room.
async fn insert(
    tx: &Transaction<'_>,
    key: &ApiKey,
    hash: &[u8; 32],
    cause: &KeyCause,
) -> Result<(), StoreError> {
    let tenant = key.tenant_id;
    if count(tx, tenant).await? >= MAX_API_KEYS {
        let before = key.created_at - PURGE_AFTER;
        tx.execute(sql::API_KEY_PURGE, &[&tenant.0, &before])
            .await?;
        if count(tx, tenant).await? >= MAX_API_KEYS {
            let detail = format!(
                "a tenant has at most {MAX_API_KEYS} API keys, those included that ended in the \
                 last 30 days"
            );
            return Err(StoreError::Conflict {
                code: Code::TooManyApiKeys,
                detail,
            });
        }
    }
    let params: [&(dyn ToSql + Sync); 9] = [
        &key.id,
        &tenant.0,
        &key.name,
        &key.role.as_str(),
        &key.prefix,
        &hash.as_slice(),
        &key.created_at,
        &key.expires_at,
        &key.rotated_from,
    ];
    tx.execute(sql::API_KEY_CREATE, &params).await?;
    let data = json!({
        "name": key.name,
        "role": key.role.as_str(),
        "prefix": key.prefix,
        "expires_at": key.expires_at,
        "rotated_from": key.rotated_from,
    });
    NewEvent::of(
        key.id,
        "api_key.created",
        &cause.origin,
        data.to_string(),
        key.created_at,
    )
    .write_in(tx, tenant)
    .await?;
    Ok(())
}

async fn count(tx: &Transaction<'_>, tenant: TenantId) -> Result<i64, StoreError> {
    Ok(tx.query_one(sql::API_KEY_COUNT, &[&tenant.0]).await?.get(0))
}

/// What a replay gives.
fn answer_of(key: &ApiKey, cause: &KeyCause, body: Vec<u8>) -> Replay {
    Replay {
        status: 201,
        location: Some(format!("{}/{}", cause.collection, key.id)),
        body,
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
            .map_err(|()| Error::Corrupt("API key role".into()))?,
        prefix: row.get(4),
        created_at: row.get(5),
        revoked_at: row.get(6),
        expires_at: row.get(7),
        rotated_from: row.get(8),
    })
}
