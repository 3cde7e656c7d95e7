//! The idempotency key of a running upload. Its fingerprint is known only at the end, so the key is
//! leased first, with what is known at the beginning: method, path and query.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Method, Uri};
use chrono::{DateTime, Utc};
use sheaf_model::TenantId;
use sheaf_store::{IdemKey, Replay, Store, StoredKey, UploadAnswer, UploadKey, supervised};
use sheaf_web::idempotency;
use tokio::task::JoinHandle;

use super::marks::Marks;
use crate::error::ApiError;
use crate::state::Shared;

/// Where an upload's key stands.
pub(super) enum Begun {
    /// This request runs it.
    Ours(Lease),
    /// It was answered; whether the answer is this upload's shows at its end.
    Answered(StoredKey),
}

/// A leased key. Extended while it lives; given back when dropped unfinished, so that a retry need
/// not wait.
pub(super) struct Lease {
    store: Store,
    tenant: TenantId,
    key: String,
    first_used: DateTime<Utc>,
    /// What an attempt before this one noted.
    progress: Vec<u8>,
    extending: JoinHandle<()>,
    /// Something may have been written under the key, by this attempt or one before.
    wrote: AtomicBool,
    finished: bool,
}

impl Lease {
    /// Leases `key`.
    ///
    /// # Errors
    /// Where another request runs the upload, and where the key was used with another one.
    pub(super) async fn begin(
        app: &Shared,
        tenant: TenantId,
        key: String,
        (method, uri): (&Method, &Uri),
    ) -> Result<Begun, ApiError> {
        let lease = app.bulk.idempotency_lease;
        let fingerprint = idempotency::fingerprint(method, uri, &[]);
        let idem = IdemKey { key, fingerprint };
        // Ids hold milliseconds, the row microseconds.
        let now = app.clock.now();
        let begun = app.store.begin_upload(tenant, &idem, now, lease).await?;
        let key = idem.key;
        Ok(match begun {
            UploadKey::Answered(stored) => Begun::Answered(stored),
            UploadKey::Started {
                first_used,
                progress,
            } => {
                let store = app.store.clone();
                let (of_lease, of_key) = (store.clone(), key.clone());
                let extending = tokio::spawn(supervised("lease", move || {
                    extend(of_lease.clone(), tenant, of_key.clone(), lease)
                }));
                Begun::Ours(Self {
                    store,
                    tenant,
                    key,
                    first_used,
                    // An attempt that is refused, or breaks off early, does not take back what
                    // those before it wrote.
                    wrote: AtomicBool::new(!progress.is_empty()),
                    progress,
                    extending,
                    finished: false,
                })
            }
        })
    }

    /// The key, whose it is, and when it was first used: what the ids of its lines derive from.
    pub(super) fn origin(&self) -> (TenantId, &str, DateTime<Utc>) {
        (self.tenant, &self.key, self.first_used)
    }

    /// Before the first line is written: from now on the key stays, whatever becomes of the upload.
    pub(super) fn writes(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }

    /// The marks of its lines, with those of the attempts before.
    pub(super) fn marks(&self) -> Marks {
        Marks::new(&self.progress)
    }

    /// Keeps marks, before the lines that they cover are written.
    pub(super) async fn keep(&self, marks: &[u8]) -> Result<(), ApiError> {
        self.store
            .note_progress(self.tenant, &self.key, marks)
            .await?;
        Ok(())
    }

    /// What is kept of the answer, for the upload with this fingerprint.
    pub(super) fn answer(&self, fingerprint: [u8; 32], body: &[u8]) -> UploadAnswer {
        UploadAnswer {
            tenant: self.tenant,
            idem: IdemKey {
                key: self.key.clone(),
                fingerprint,
            },
            answer: Replay {
                status: 200,
                location: None,
                body: body.to_vec(),
            },
        }
    }

    /// Stores the answer.
    pub(super) async fn finish(mut self, answer: &UploadAnswer) -> Result<(), ApiError> {
        self.extending.abort();
        self.store.finish_upload(answer).await?;
        self.finished = true;
        Ok(())
    }

    /// The answer was stored with the lines.
    pub(super) fn finished(mut self) {
        self.finished = true;
    }
}

async fn extend(store: Store, tenant: TenantId, key: String, lease: Duration) {
    loop {
        tokio::time::sleep(lease / 3).await;
        if let Err(error) = store.extend_upload(tenant, &key, lease).await {
            tracing::warn!(%error, "an upload's idempotency lease could not be extended");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.extending.abort();
        if self.finished {
            return;
        }
        let (store, tenant, wrote) = (self.store.clone(), self.tenant, *self.wrote.get_mut());
        let key = std::mem::take(&mut self.key);
        tokio::spawn(async move {
            let given_back = match wrote {
                true => store.suspend_upload(tenant, &key).await,
                false => store.abandon_upload(tenant, &key).await,
            };
            // Left alone it lapses with its lease.
            if let Err(error) = given_back {
                tracing::warn!(%error, "an upload's idempotency key could not be given back");
            }
        });
    }
}
