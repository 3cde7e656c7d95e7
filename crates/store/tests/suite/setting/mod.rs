//! Settings of a tenant.

pub(crate) mod profile_versions;
