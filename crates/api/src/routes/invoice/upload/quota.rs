//! How many uploads run at once, and how much of the disk they may hold: so much for each tenant,
//! and so much in all.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::statvfs;
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
    /// Bytes that one atomic upload may have, whatever others hold.
    largest: u64,
}

/// What an upload holds while it runs.
pub(super) struct Held {
    _running: Share,
    _atomic: Option<Share>,
    spooled: Share,
    /// Bytes of `spooled`.
    bytes: u64,
    largest: u64,
}

impl Quotas {
    pub(crate) fn new(config: &BulkConfig) -> Self {
        let dir = config.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        // Where it cannot be told, a full disk tells.
        Self::over(config, size_of_disk(&dir).unwrap_or(u64::MAX))
    }

    /// The same, with the spool on a disk of so many bytes.
    fn over(config: &BulkConfig, disk: u64) -> Self {
        let spooled = Shares::new(
            "spool_bytes",
            config.spool_limit_per_tenant,
            config.spool_limit_total,
        );
        let largest = spooled.per_tenant().min(config.spool_limit).min(disk);
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
            spooled,
            largest,
        }
    }

    /// Refuses an atomic upload of so many bytes if it never fits. Said before it is read: while
    /// others hold a part of the disk, it would be told to come again, and again.
    pub(super) fn fits(&self, bytes: u64) -> Result<(), BodyError> {
        match bytes > self.largest {
            true => Err(BodyError::TooLarge(self.largest)),
            false => Ok(()),
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
            largest: self.largest,
        })
    }
}

impl Held {
    /// Before so many bytes more are spooled.
    pub(super) fn spool(&mut self, bytes: u64) -> Result<(), ApiError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.largest {
            // Waiting for others would not help it.
            return Err(BodyError::TooLarge(self.largest).into());
        }
        let crowded = |full| ApiError::Crowded(Crowded::Spool, full);
        self.spooled.grow(bytes).map_err(crowded)
    }
}

/// Bytes of the disk under a directory, full or empty, but for what is kept for the superuser.
fn size_of_disk(dir: &Path) -> Option<u64> {
    let stats = statvfs(dir).ok()?;
    let kept = stats.f_bfree.saturating_sub(stats.f_bavail);
    let blocks = stats.f_blocks.saturating_sub(kept);
    Some(blocks.saturating_mul(stats.f_frsize)).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sheaf_web::Error;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_never_fits_is_told_from_what_does_not_fit_now() {
        let config = BulkConfig {
            spool_limit: 900,
            spool_limit_per_tenant: 800,
            spool_limit_total: 1_000,
            ..BulkConfig::default()
        };
        let [one, two] = [1, 2].map(|n| TenantId(Uuid::from_u128(n)));
        for (disk, largest) in [(u64::MAX, 800), (500, 500)] {
            let quotas = Quotas::over(&config, disk);
            assert_eq!(quotas.fits(largest), Ok(()));
            assert_eq!(quotas.fits(largest + 1), Err(BodyError::TooLarge(largest)));
            let mut held = quotas.enter(one, true).unwrap();
            held.spool(400).unwrap();
            let mut other = quotas.enter(two, true).unwrap();
            // Whose length nobody knew before.
            assert!(matches!(
                other.spool(largest + 1),
                Err(ApiError::Web(Error::Body(BodyError::TooLarge(bytes)))) if bytes == largest
            ));
        }
        let quotas = Quotas::over(&config, u64::MAX);
        let mut held = quotas.enter(one, true).unwrap();
        held.spool(400).unwrap();
        let mut other = quotas.enter(two, true).unwrap();
        assert!(matches!(
            other.spool(700),
            Err(ApiError::Crowded(Crowded::Spool, sheaf_store::Full::All))
        ));
        drop(held);
        assert!(quotas.enter(two, true).unwrap().spool(700).is_ok());
    }

    #[test]
    fn a_disk_has_a_size() {
        assert!(size_of_disk(&std::env::temp_dir()).unwrap() > 1 << 20);
        assert_eq!(size_of_disk(Path::new("/there/is/none")), None);
    }
}
