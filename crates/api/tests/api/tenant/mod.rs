//! Tenants, their keys and their shares.

pub(crate) mod api_keys;
pub(crate) mod key_rotation;
pub(crate) mod quotas;
pub(crate) mod rate_limit;
pub(crate) mod records;
