//! The problems of callers that are turned away.

use axum::http::StatusCode;

use crate::error::Error;
use crate::problem::Problem;

/// What the caller may not do, or who it is not.
pub(super) fn problem(error: &Error) -> Problem {
    use StatusCode as S;
    let (status, code, detail) = match error {
        Error::InvalidCredential => (
            S::UNAUTHORIZED,
            "invalid_credential",
            "the credential is not valid",
        ),
        Error::RevokedCredential => (
            S::UNAUTHORIZED,
            "revoked_credential",
            "the API key was revoked",
        ),
        Error::ExpiredCredential => (
            S::UNAUTHORIZED,
            "expired_credential",
            "the credential has expired",
        ),
        Error::UnknownTenant => (
            S::FORBIDDEN,
            "unknown_tenant",
            "the tenant that the token names does not exist",
        ),
        Error::TenantMismatch => (
            S::FORBIDDEN,
            "tenant_mismatch",
            "the credential belongs to another tenant than the one named",
        ),
        Error::AdminRequired => (
            S::FORBIDDEN,
            "admin_required",
            "this route needs the admin key",
        ),
        Error::TenantCredentialRequired => (
            S::FORBIDDEN,
            "tenant_credential_required",
            "this route needs a tenant's credential, not the admin key",
        ),
        Error::ForbiddenRole => (
            S::FORBIDDEN,
            "forbidden_role",
            "the role of the credential does not allow this",
        ),
        _ => (
            S::UNAUTHORIZED,
            "missing_credential",
            "send an API key or a token as `Authorization: Bearer <it>`, or a key as `X-Api-Key`",
        ),
    };
    Problem::new(status, code, detail)
}
