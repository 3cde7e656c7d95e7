//! Who calls, and what they may do. The tenant comes from these extractors and from nowhere else.

pub mod api_key;
pub mod role;

pub(crate) mod authenticator;
pub(crate) mod caller;
mod crypto;
pub(crate) mod guesses;
mod jwks;
pub(crate) mod jwt;
mod known_tenant;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::auth::authenticator::Principal;
use crate::auth::role::Action;
use crate::error::Error;

pub use crate::auth::authenticator::Authenticator;
pub use crate::auth::caller::TenantAuth;
pub use crate::auth::jwks::JwksSource;
pub use crate::auth::jwt::{JwtConfig, JwtSecret};
pub use crate::auth::role::role_table;

/// One extractor for each action. A handler that takes it gets the tenant, and cannot be reached by
/// a role that the table does not allow.
macro_rules! extractors {
    ($($(#[$meta:meta])* $name:ident => $action:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name(pub TenantAuth);

        impl<S> FromRequestParts<S> for $name
        where
            Authenticator: FromRef<S>,
            S: Send + Sync,
        {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
                let auth = Authenticator::from_ref(state);
                auth.tenant(parts, Action::$action).await.map(Self)
            }
        }
    )*};
}

extractors! {
    /// May read documents.
    Reader => Read,
    /// May write documents.
    Writer => Write,
    /// May move money: payments, refunds, reversals, credit notes, cancellations.
    Money => Money,
    /// May make and change customers.
    Customers => Customers,
    /// May change number series and the tenant's profile.
    Settings => Settings,
    /// May erase customers' personal data and set retention.
    Privacy => Privacy,
    /// May manage API keys.
    Keys => Keys,
    /// May read the audit trail.
    Auditor => Audit,
}

/// The platform's admin key.
#[derive(Clone, Copy, Debug)]
pub struct AdminAuth;

impl<S> FromRequestParts<S> for AdminAuth
where
    Authenticator: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Authenticator::from_ref(state).principal(parts).await? {
            Principal::Admin => Ok(Self),
            Principal::Tenant(..) => Err(Error::AdminRequired),
        }
    }
}
