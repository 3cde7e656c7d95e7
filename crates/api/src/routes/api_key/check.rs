//! What a client may ask of an API key.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::{NewApiKey, Role, Rotation};
use sheaf_web::auth::api_key::NewKey;

use crate::routes::tenant::check_text;
use crate::schema::{ApiKeyIn, ApiKeyRotationIn};

/// Characters of a key's name.
const MAX_NAME: usize = 200;
/// Seconds for which an old key goes on, unless the client says.
const DEFAULT_OVERLAP: i64 = 24 * 60 * 60;
const MAX_OVERLAP: i64 = 30 * DEFAULT_OVERLAP;

/// A key to be stored.
pub(super) fn new_key(
    input: ApiKeyIn,
    key: &NewKey,
    now: DateTime<Utc>,
) -> Result<NewApiKey, Invalid> {
    let mut mistakes = Vec::new();
    check_text("name", &input.name, MAX_NAME, &mut mistakes);
    let role = input.role.as_deref().map_or(Ok(Role::Admin), str::parse);
    if role.is_err() {
        mistakes.push(FieldError::new(
            "role",
            Code::InvalidRole,
            "must be admin, finance or viewer",
        ));
    }
    let expires_at = end(input.expires_at, now, &mut mistakes);
    match (Invalid::from_errors(mistakes), role) {
        (None, Ok(role)) => Ok(NewApiKey {
            name: input.name,
            role,
            prefix: key.prefix.clone(),
            hash: key.hash,
            expires_at,
        }),
        (Some(invalid), _) => Err(invalid),
        (None, Err(())) => Err(FieldError::new("role", Code::InvalidRole, "is not valid").into()),
    }
}

/// A successor to be stored.
pub(super) fn rotation(
    input: &ApiKeyRotationIn,
    key: &NewKey,
    now: DateTime<Utc>,
) -> Result<Rotation, Invalid> {
    let mut mistakes = Vec::new();
    let overlap = input.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
    if !(0..=MAX_OVERLAP).contains(&overlap) {
        mistakes.push(FieldError::new(
            "overlap_seconds",
            Code::OverlapOutOfRange,
            format!("must be from 0 to {MAX_OVERLAP}"),
        ));
    }
    let expires_at = end(input.expires_at, now, &mut mistakes);
    match Invalid::from_errors(mistakes) {
        Some(invalid) => Err(invalid),
        None => Ok(Rotation {
            prefix: key.prefix.clone(),
            hash: key.hash,
            expires_at,
            now: now.trunc_subsecs(6),
            overlap: Duration::from_secs(u64::try_from(overlap).unwrap_or(0)),
        }),
    }
}

/// The end of a key, in microseconds as PostgreSQL keeps it.
fn end(
    asked: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    mistakes: &mut Vec<FieldError>,
) -> Option<DateTime<Utc>> {
    let end = asked?;
    if end <= now {
        let detail = "must lie in the future";
        mistakes.push(FieldError::new("expires_at", Code::ExpiresAtInPast, detail));
    }
    Some(end.trunc_subsecs(6))
}
