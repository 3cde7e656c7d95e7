//! The idempotency key of a running upload. Its fingerprint is known only at the end, so the key is leased first.

use std::time::Duration;

use sheaf_model::TenantId;
use sheaf_store::{IdemState, Replay, Store, supervised};
use tokio::task::JoinHandle;

use crate::app::Shared;
use crate::error::ApiError;

/// Where an upload's key stands.
pub(super) enum Begun {
    /// This request runs it.
    Ours(Lease),
    /// Another request runs it.
    Running,
    /// It was answered.
    Done {
        fingerprint: [u8; 32],
        replay: Replay,
    },
}

/// A leased key. Extended while it lives; given back when dropped unfinished, so that a retry need not wait.
pub(super) struct Lease {
    store: Store,
    tenant: TenantId,
    key: String,
    extending: JoinHandle<()>,
    finished: bool,
}

impl Lease {
    /// Leases `key`.
    pub(super) async fn begin(
        app: &Shared,
        tenant: TenantId,
        key: String,
    ) -> Result<Begun, ApiError> {
        let lease = app.config.bulk.idempotency_lease;
        match app.store.idempotency_begin(tenant, &key, lease).await? {
            IdemState::Running => Ok(Begun::Running),
            IdemState::Done {
                fingerprint,
                replay,
            } => Ok(Begun::Done {
                fingerprint,
                replay,
            }),
            IdemState::Started => {
                let store = app.store.clone();
                let (of_lease, of_key) = (store.clone(), key.clone());
                let extending = tokio::spawn(supervised("lease", move || {
                    extend(of_lease.clone(), tenant, of_key.clone(), lease)
                }));
                Ok(Begun::Ours(Self {
                    store,
                    tenant,
                    key,
                    extending,
                    finished: false,
                }))
            }
        }
    }

    /// Stores the answer.
    pub(super) async fn finish(
        mut self,
        fingerprint: [u8; 32],
        status: u16,
        body: &[u8],
    ) -> Result<(), ApiError> {
        self.extending.abort();
        self.store
            .idempotency_finish(self.tenant, &self.key, fingerprint, status, body)
            .await?;
        self.finished = true;
        Ok(())
    }
}

async fn extend(store: Store, tenant: TenantId, key: String, lease: Duration) {
    loop {
        tokio::time::sleep(lease / 3).await;
        if let Err(error) = store.idempotency_extend(tenant, &key, lease).await {
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
        let (store, tenant, key) = (
            self.store.clone(),
            self.tenant,
            std::mem::take(&mut self.key),
        );
        tokio::spawn(async move {
            // Left alone it would lapse with its lease.
            if let Err(error) = store.idempotency_abandon(tenant, &key).await {
                tracing::warn!(%error, "an upload's idempotency key could not be given back");
            }
        });
    }
}
