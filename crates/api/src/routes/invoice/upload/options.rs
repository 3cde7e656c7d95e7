//! Who uploads, and what the upload asks for.

use axum::http::Uri;
use sheaf_model::{TaxRounding, TenantId};
use sheaf_store::{Origin, PLATFORM};
use sheaf_web::Error;
use sheaf_web::query::Params;

/// Whose invoices an upload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// One tenant's.
    Tenant(TenantId),
    /// Each line says whose it is.
    Platform,
}

/// Who uploads.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) owner: Owner,
    pub(crate) origin: Origin,
}

impl Caller {
    /// The tenant whose shard keeps the idempotency key.
    pub(super) fn key_owner(&self) -> TenantId {
        match self.owner {
            Owner::Tenant(tenant) => tenant,
            Owner::Platform => PLATFORM,
        }
    }
}

/// What becomes of external ids that no tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Create {
    /// Their lines are rejected.
    Never,
    /// Tenants are made when their first line comes.
    AsTheyCome,
    /// Tenants are made after the last line, if all lines are good.
    AtTheEnd,
}

/// What the query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) atomic: bool,
    pub(super) create_tenants: bool,
    pub(super) restore: bool,
    /// Of lines that do not say.
    pub(super) tax_rounding: Option<TaxRounding>,
}

impl Options {
    pub(super) fn parse(uri: &Uri, owner: Owner) -> Result<Self, Error> {
        let mut params = Params::of(uri)?;
        let atomic = params.parse("atomic", "true or false")?.unwrap_or(false);
        let create_tenants = match owner {
            Owner::Platform => params
                .parse("create_tenants", "true or false")?
                .unwrap_or(false),
            Owner::Tenant(_) => false,
        };
        let restore = params.parse("restore", "true or false")?.unwrap_or(false);
        let tax_rounding = params.parse("tax_rounding", "document or line")?;
        params.finish()?;
        Ok(Self {
            atomic,
            create_tenants,
            restore,
            tax_rounding,
        })
    }

    pub(super) fn create(self) -> Create {
        match (self.create_tenants, self.atomic) {
            (false, _) => Create::Never,
            (true, false) => Create::AsTheyCome,
            (true, true) => Create::AtTheEnd,
        }
    }
}
