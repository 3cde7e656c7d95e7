//! Who calls: what became known of a request's credential.

use std::sync::{Arc, OnceLock};

use sheaf_model::TenantId;

use crate::rate_limit::Standing;

/// A tenant's credential.
#[derive(Clone, Debug)]
pub struct TenantAuth {
    /// Whose data it opens.
    pub tenant_id: TenantId,
    /// `api_key:<id>` or `jwt:<iss>/<sub>`, for the audit trail.
    pub actor: Arc<str>,
}

/// What became known of a request's caller: the layer around the route reads it when the answer is
/// there.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// Whose credential it is, also one that is refused.
    pub(crate) auth: OnceLock<TenantAuth>,
    /// How many requests are left.
    pub(crate) standing: OnceLock<Standing>,
}
