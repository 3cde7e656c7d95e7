//! How many uploads run at once, and how much of the disk they may hold: so much for each tenant,
//! and so much in all.

use std::sync::Arc;

use sheaf_model::TenantId;
use sheaf_store::{Share, Shares};
use sheaf_web::error::BodyError;

use crate::config::BulkConfig;
use crate::error::{ApiError, Crowded};

/// The bounds of all uploads of this process.
pub(crate) struct Quotas {
    running: Arc<Shares>,
    atomic: Arc<Shares>,
    spooled: Arc<Shares>,
}

/// What an upload holds while it runs.
pub(super) struct Held {
    _running: Share,
    _atomic: Option<Share>,
    spooled: Share,
    /// Bytes of `spooled`, and how many one upload may have.
    bytes: u64,
    limit: u64,
}

impl Quotas {
    pub(crate) fn new(config: &BulkConfig) -> Self {
        let shares = |kind, per_tenant: usize, total: usize| {
            let amount = |count| u64::try_from(count).unwrap_or(u64::MAX);
            Shares::new(kind, amount(per_tenant), amount(total))
        };
        Self {
            running: shares("uploads", config.uploads_per_tenant, config.uploads),
            atomic: shares(
                "atomic_uploads",
                config.atomic_uploads_per_tenant,
                config.atomic_uploads,
            ),
            spooled: Shares::new(
                "spool_bytes",
                config.spool_limit_per_tenant,
                config.spool_limit_total,
            ),
        }
    }

    /// Lets an upload in. The platform's count as one tenant's.
    pub(super) fn enter(&self, owner: TenantId, atomic: bool) -> Result<Held, ApiError> {
        let crowded = |full| ApiError::Crowded(Crowded::Uploads, full);
        let running = self.running.take(owner).map_err(crowded)?;
        let atomic = match atomic {
            true => Some(self.atomic.take(owner).map_err(crowded)?),
            false => None,
        };
        Ok(Held {
            _running: running,
            _atomic: atomic,
            spooled: self.spooled.take_amount(owner, 0).map_err(crowded)?,
            bytes: 0,
            limit: self.spooled.per_tenant(),
        })
    }
}

impl Held {
    /// Before so many bytes more are spooled.
    pub(super) fn spool(&mut self, bytes: u64) -> Result<(), ApiError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit {
            // Waiting for others would not help it.
            return Err(BodyError::TooLarge(self.limit).into());
        }
        let crowded = |full| ApiError::Crowded(Crowded::Spool, full);
        self.spooled.grow(bytes).map_err(crowded)
    }
}
