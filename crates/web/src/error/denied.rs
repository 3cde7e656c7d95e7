//! The problems of callers that are turned away.

use sheaf_model::Code;

use crate::error::Error;
use crate::problem::Problem;

/// What the caller may not do, or who it is not.
pub(super) fn problem(error: &Error) -> Problem {
    let (code, detail) = match error {
        Error::InvalidCredential => (Code::InvalidCredential, "the credential is not valid"),
        Error::RevokedCredential => (Code::RevokedCredential, "the API key was revoked"),
        Error::ExpiredCredential => (Code::ExpiredCredential, "the credential has expired"),
        Error::UnknownTenant => (
            Code::UnknownTenant,
            "the tenant that the token names does not exist",
        ),
        Error::TenantMismatch => (
            Code::TenantMismatch,
            "the credential belongs to another tenant than the one named",
        ),
        Error::AdminRequired => (Code::AdminRequired, "this route needs the admin key"),
        Error::TenantCredentialRequired => (
            Code::TenantCredentialRequired,
            "this route needs a tenant's credential, not the admin key",
        ),
        Error::ForbiddenRole => (
            Code::ForbiddenRole,
            "the role of the credential does not allow this",
        ),
        _ => (
            Code::MissingCredential,
            "send an API key or a token as `Authorization: Bearer <it>`, or a key as `X-Api-Key`",
        ),
    };
    Problem::new(code, detail)
}
