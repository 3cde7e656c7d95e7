//! Idempotency keys: the first answer, kept with the change that it answers for.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use sheaf_model::TenantId;
use tokio_postgres::Row;

use crate::tenants::now;
use crate::types::{IdemKey, IdemState, Replay};
use crate::{Store, StoreError, sql};

/// A key that somebody has used.
pub(crate) enum Stored {
    Answered {
        fingerprint: [u8; 32],
        replay: Replay,
    },
    Running,
}

pub(crate) async fn stored(
    tx: &Transaction<'_>,
    tenant: TenantId,
    key: &str,
) -> Result<Option<Stored>, StoreError> {
    tx.query_opt(sql::IDEMPOTENCY_GET, &[&tenant.0, &key])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Keeps the answer to a creation in the transaction of its change.
pub(crate) async fn store(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: &IdemKey,
    location: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    store_answer(tx, tenant, idem, 201, Some(location), body, now).await?;
    Ok(())
}

/// Keeps an answer in the transaction of its change.
pub(crate) async fn store_answer(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: &IdemKey,
    status: i16,
    location: Option<&str>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), tokio_postgres::Error> {
    let fingerprint = idem.fingerprint.as_slice();
    tx.execute(
        sql::IDEMPOTENCY_STORE,
        &[
            &tenant.0,
            &idem.key,
            &fingerprint,
            &status,
            &location,
            &body,
            &now,
        ],
    )
    .await
    .map(|_| ())
}

fn read(row: &Row) -> Result<Stored, StoreError> {
    let (fingerprint, status): (Option<Vec<u8>>, Option<i16>) = (row.get(0), row.get(1));
    let (Some(fingerprint), Some(status)) = (fingerprint, status) else {
        return Ok(Stored::Running);
    };
    let corrupt = |what: &str| StoreError::Corrupt(format!("idempotency key: {what}"));
    Ok(Stored::Answered {
        fingerprint: fingerprint.try_into().map_err(|_| corrupt("fingerprint"))?,
        replay: Replay {
            status: u16::try_from(status).map_err(|_| corrupt("status"))?,
            location: row.get(2),
            body: row.get::<_, Option<Vec<u8>>>(3).unwrap_or_default(),
        },
    })
}

impl Store {
    /// Takes a key for a long request, for `lease` at first. A runner that died loses it when its lease ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotency_begin(
        &self,
        tenant: TenantId,
        key: &str,
        lease: Duration,
    ) -> Result<IdemState, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let now = now();
        if conn
            .execute(
                sql::IDEMPOTENCY_BEGIN,
                &[&tenant.0, &key, &(now + lease), &now],
            )
            .await?
            == 1
        {
            return Ok(IdemState::Started);
        }
        let row = conn
            .query_opt(sql::IDEMPOTENCY_GET, &[&tenant.0, &key])
            .await?;
        Ok(match row.as_ref().map(read).transpose()? {
            Some(Stored::Answered {
                fingerprint,
                replay,
            }) => IdemState::Done {
                fingerprint,
                replay,
            },
            // Given up between the two statements: the client may come again at once.
            Some(Stored::Running) | None => IdemState::Running,
        })
    }

    /// Says that the request still runs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotency_extend(
        &self,
        tenant: TenantId,
        key: &str,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(
            sql::IDEMPOTENCY_EXTEND,
            &[&tenant.0, &key, &(now() + lease)],
        )
        .await?;
        Ok(())
    }

    /// Keeps the answer of a long request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotency_finish(
        &self,
        tenant: TenantId,
        key: &str,
        fingerprint: [u8; 32],
        status: u16,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let status = i16::try_from(status).unwrap_or(500);
        conn.execute(
            sql::IDEMPOTENCY_FINISH,
            &[&tenant.0, &key, &fingerprint.as_slice(), &status, &body],
        )
        .await?;
        Ok(())
    }

    /// Frees the key of a request that ended without an answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotency_abandon(&self, tenant: TenantId, key: &str) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(sql::IDEMPOTENCY_ABANDON, &[&tenant.0, &key])
            .await?;
        Ok(())
    }

    /// Deletes a tenant's keys from before `older_than`. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_idempotency(
        &self,
        tenant: TenantId,
        older_than: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        Ok(conn
            .execute(sql::IDEMPOTENCY_SWEEP, &[&tenant.0, &older_than])
            .await?)
    }
}
