//! Idempotency keys: the first answer, kept with the change that it answers for.
//!
//! What a key says of a request is judged in one place, [`StoredKey::judge`]. A single request
//! takes its key inside the transaction of its change ([`claim`], [`answer`]), or, in a batch,
//! writes the key with its rows. An upload runs for longer than a transaction should: it leases its
//! key, and the row without an answer stays for as long as lines that were written under the key
//! may be sent again ([`Store::begin_upload`]).

pub(crate) mod key;

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use sheaf_model::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::idempotency::key::{IdemConflict, IdemKey, Replay};
use crate::{Store, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::rows::now as utc_now;

/// Keys that one statement of a sweep deletes.
const SWEPT_AT_ONCE: i64 = 5_000;

/// A key that somebody has used.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Of the request; of an upload without an answer, what is known before its body is read.
    fingerprint: Option<Vec<u8>>,
    /// None while the request runs, and of an upload that broke off.
    answer: Option<Replay>,
}

impl StoredKey {
    /// From the columns of `idempotency/get` and `find`: fingerprint, status, location and body,
    /// from the one at `at` on.
    pub(crate) fn from_row(row: &Row, at: usize) -> Self {
        let status: Option<i16> = row.get(at + 1);
        let answer = status.map(|status| Replay {
            status: u16::try_from(status).unwrap_or(500),
            location: row.get(at + 2),
            body: row.get::<_, Option<Vec<u8>>>(at + 3).unwrap_or_default(),
        });
        Self {
            fingerprint: row.get(at),
            answer,
        }
    }

    /// A row of `idempotency/find`: whose key it is, and what is known of it.
    pub(crate) fn found(row: &Row) -> ((TenantId, String), Self) {
        ((TenantId(row.get(0)), row.get(1)), Self::from_row(row, 2))
    }

    /// A key whose answer is known, but not stored yet.
    pub(crate) fn answered(idem: &IdemKey, answer: Replay) -> Self {
        Self {
            fingerprint: Some(idem.fingerprint.to_vec()),
            answer: Some(answer),
        }
    }

    /// Whether a request with this fingerprint is the one that was answered; its answer then.
    ///
    /// # Errors
    /// [`IdemConflict`].
    pub fn judge(&self, fingerprint: &[u8; 32]) -> Result<&Replay, IdemConflict> {
        match (&self.fingerprint, &self.answer) {
            (Some(used), _) if used.as_slice() != fingerprint => Err(IdemConflict::Mismatch),
            (_, Some(answer)) => Ok(answer),
            (_, None) => Err(IdemConflict::Running),
        }
    }
}

/// Why a key was not taken.
pub(crate) enum KeyError {
    /// The transaction is lost.
    Db(tokio_postgres::Error),
    /// It is not to be taken.
    Store(StoreError),
}

impl From<tokio_postgres::Error> for KeyError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Db(error)
    }
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Db(error) => error.into(),
            KeyError::Store(error) => error,
        }
    }
}

/// Takes the key of a request in the transaction of its change, before anything else is written:
/// the same request, sent twice at once, meets itself here, waits for the first, and gets the first
/// one's answer. None: there is no key, or it is ours; then [`answer`] is to follow in the same
/// transaction.
pub(crate) async fn claim(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: Option<&IdemKey>,
    now: DateTime<Utc>,
) -> Result<Option<Replay>, KeyError> {
    let Some(idem) = idem else { return Ok(None) };
    let fingerprint = idem.fingerprint.as_slice();
    let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &idem.key, &fingerprint, &now];
    if tx.execute(sql::IDEMPOTENCY_CLAIM, &params).await? == 1 {
        return Ok(None);
    }
    let row = tx
        .query_opt(sql::IDEMPOTENCY_GET, &[&tenant.0, &idem.key])
        .await?;
    let Some(row) = row else {
        // Given up between the two statements: the client may come again at once.
        return Err(KeyError::Store(IdemConflict::Running.into()));
    };
    let stored = StoredKey::from_row(&row, 0);
    match stored.judge(&idem.fingerprint) {
        Ok(answer) => Ok(Some(answer.clone())),
        Err(conflict) => Err(KeyError::Store(conflict.into())),
    }
}

/// Keeps the answer under the key that [`claim`] took.
pub(crate) async fn answer(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: Option<&IdemKey>,
    answer: &Replay,
) -> Result<(), KeyError> {
    let Some(idem) = idem else { return Ok(()) };
    if finish(tx.client(), tenant, idem, answer).await? {
        return Ok(());
    }
    let what = "an idempotency key that was just taken".to_owned();
    Err(KeyError::Store(Error::Corrupt(what).into()))
}

/// Frees the key that [`claim`] took: the change is not done yet, and the same request is to go on
/// with it.
pub(crate) async fn release(
    tx: &Transaction<'_>,
    tenant: TenantId,
    idem: Option<&IdemKey>,
) -> Result<(), tokio_postgres::Error> {
    if let Some(idem) = idem {
        tx.execute(sql::IDEMPOTENCY_ABANDON, &[&tenant.0, &idem.key])
            .await?;
    }
    Ok(())
}

/// Gives a key without an answer its answer. False where it has one, or is gone.
async fn finish(
    client: &tokio_postgres::Client,
    tenant: TenantId,
    idem: &IdemKey,
    answer: &Replay,
) -> Result<bool, tokio_postgres::Error> {
    let (fingerprint, status) = (idem.fingerprint.as_slice(), status(answer));
    let params: [&(dyn ToSql + Sync); 6] = [
        &tenant.0,
        &idem.key,
        &fingerprint,
        &status,
        &answer.location,
        &answer.body,
    ];
    let finished = client.execute(sql::IDEMPOTENCY_FINISH, &params).await?;
    Ok(finished == 1)
}

fn status(answer: &Replay) -> i16 {
    i16::try_from(answer.status).unwrap_or(500)
}

/// Where the key of an upload stands.
#[derive(Clone, Debug)]
pub enum UploadKey {
    /// It is ours to run.
    Started {
        /// When the key was first used, by an attempt that broke off perhaps: the time of ids that
        /// derive from it.
        first_used: DateTime<Utc>,
        /// What an attempt that broke off noted of itself ([`Store::note_progress`]); empty where
        /// none did.
        progress: Vec<u8>,
    },
    /// The key has its answer. Whether it is the answer to this upload is to be judged when its
    /// body has been read.
    Answered(StoredKey),
}

/// The answer to an upload, and the key that it is kept under.
#[derive(Clone, Debug)]
pub struct UploadAnswer {
    /// Whose key it is.
    pub tenant: TenantId,
    /// With the fingerprint of the whole upload.
    pub idem: IdemKey,
    /// What a replay gives.
    pub answer: Replay,
}

impl UploadAnswer {
    /// Keeps it in the transaction that `conn` is in.
    pub(crate) async fn keep_in(&self, conn: &Object) -> Result<(), StoreError> {
        match finish(conn, self.tenant, &self.idem, &self.answer).await? {
            true => Ok(()),
            // Our lease ended, and another request has run the upload.
            false => Err(IdemConflict::Running.into()),
        }
    }
}

impl Store {
    /// Takes a key for an upload, for `lease` at first; a runner that died loses it when its lease
    /// ends. The key's fingerprint is that of what is known before the body is read; `now` is the
    /// caller's clock.
    ///
    /// # Errors
    /// [`StoreError::Idempotency`] while another request runs the upload, and where the key was
    /// used with another one.
    pub async fn begin_upload(
        &self,
        tenant: TenantId,
        idem: &IdemKey,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<UploadKey, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let (fingerprint, clock) = (idem.fingerprint.as_slice(), utc_now());
        let until = clock + lease;
        let params: [&(dyn ToSql + Sync); 6] =
            [&tenant.0, &idem.key, &fingerprint, &until, &now, &clock];
        if let Some(row) = conn.query_opt(sql::IDEMPOTENCY_BEGIN, &params).await? {
            return Ok(UploadKey::Started {
                first_used: row.get(0),
                progress: row.get::<_, Option<Vec<u8>>>(1).unwrap_or_default(),
            });
        }
        let row = conn
            .query_opt(sql::IDEMPOTENCY_GET, &[&tenant.0, &idem.key])
            .await?;
        let Some(stored) = row.map(|row| StoredKey::from_row(&row, 0)) else {
            // Given up between the two statements: the client may come again at once.
            return Err(IdemConflict::Running.into());
        };
        if stored.answer.is_none() {
            stored.judge(&idem.fingerprint)?;
        }
        Ok(UploadKey::Answered(stored))
    }

    /// Says that the upload still runs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extend_upload(
        &self,
        tenant: TenantId,
        key: &str,
        lease: Duration,
    ) -> Result<(), StoreError> {
        self.lease_until(tenant, key, utc_now() + lease).await
    }

    /// Keeps what an upload notes of itself for the next attempt, should this one break off.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_progress(
        &self,
        tenant: TenantId,
        key: &str,
        progress: &[u8],
    ) -> Result<(), StoreError> {
        // Again where the connection breaks: the lines themselves are tried again as well.
        self.retry(|| async {
            let conn = self.inner.cluster.owner(tenant).get().await?;
            conn.execute(sql::IDEMPOTENCY_PROGRESS, &[&tenant.0, &key, &progress])
                .await?;
            Ok(())
        })
        .await
    }

    /// Lets the next attempt at the upload begin at once. Its key stays, for the lines that were
    /// written under it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suspend_upload(&self, tenant: TenantId, key: &str) -> Result<(), StoreError> {
        self.lease_until(tenant, key, DateTime::UNIX_EPOCH).await
    }

    async fn lease_until(
        &self,
        tenant: TenantId,
        key: &str,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(sql::IDEMPOTENCY_EXTEND, &[&tenant.0, &key, &until])
            .await?;
        Ok(())
    }

    /// Keeps the answer to an upload whose lines are written. An answer that is there already
    /// stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_upload(&self, answer: &UploadAnswer) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(answer.tenant).get().await?;
        finish(&conn, answer.tenant, &answer.idem, &answer.answer).await?;
        Ok(())
    }

    /// Frees the key of an upload that ended before anything was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandon_upload(&self, tenant: TenantId, key: &str) -> Result<(), StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(sql::IDEMPOTENCY_ABANDON, &[&tenant.0, &key])
            .await?;
        Ok(())
    }

    /// Deletes a tenant's keys from before `older_than`, but for those of uploads that run. The
    /// platform's own keys are those of the nil tenant. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_idempotency(
        &self,
        tenant: TenantId,
        older_than: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let mut swept = 0;
        loop {
            let now = utc_now();
            let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &older_than, &now, &SWEPT_AT_ONCE];
            let old = conn.query(sql::IDEMPOTENCY_OLD, &params).await?;
            let keys: Vec<String> = old.iter().map(|row| row.get(0)).collect();
            let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &keys, &older_than, &now];
            swept += conn.execute(sql::IDEMPOTENCY_SWEEP, &params).await?;
            if i64::try_from(keys.len()).unwrap_or(0) < SWEPT_AT_ONCE {
                return Ok(swept);
            }
        }
    }
}
