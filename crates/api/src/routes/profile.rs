//! `/v1/profile`: the seller, as the tenant's documents show it.

use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use sheaf_documents::Profile;
use sheaf_store::{NewProfile, PutProfile, StoredProfile};

use super::documents;
use super::json;
use crate::app::Shared;
use crate::auth::{Reader, Writer};
use crate::body::JsonBody;
use crate::error::{ApiError, Noun};
use crate::observe::RequestId;
use crate::query;
use crate::schemas::ProfileDoc;

/// The tenant's profile.
#[utoipa::path(get, path = "/v1/profile", tag = "documents", operation_id = "getProfile",
    security(("bearer" = []), ("apiKey" = [])),
    responses((status = 200, body = ProfileDoc, headers(("ETag" = String, description = "The version, quoted"))),
        (status = 404, description = "`profile_not_found`: none was set yet")))]
pub(super) async fn get(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let stored = app.store.profile(auth.tenant_id).await?;
    answer(stored.ok_or(ApiError::NotFound(Noun::Profile))?)
}

/// Set the tenant's profile, the whole of it. The same profile again changes nothing.
#[utoipa::path(put, path = "/v1/profile", tag = "documents", operation_id = "putProfile", request_body = ProfileDoc,
    security(("bearer" = []), ("apiKey" = [])),
    params(("If-Match" = Option<String>, Header,
        description = "The version that the client has seen, quoted; `\"0\"` when there was none")),
    responses((status = 200, body = ProfileDoc, headers(("ETag" = String, description = "The version, quoted"))),
        (status = 403, description = "`tenant_mismatch`, `forbidden_role`, `tenant_credential_required`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "The first field's code: `missing_field`, `unknown_field`, `string_too_long`, \
            `invalid_iban` for example")))]
pub(super) async fn put(
    Writer(auth): Writer,
    State(app): State<Shared>,
    RequestId(request_id): RequestId,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let profile = Profile::parse(&body.bytes)?;
    let new = NewProfile {
        tenant: auth.tenant_id,
        profile: serde_json::to_value(&profile)
            .map_err(|error| ApiError::Internal(error.to_string()))?,
        expected: expected(&headers),
        actor: auth.actor,
        request_id,
    };
    match app.store.put_profile(&new).await? {
        PutProfile::Stored(stored) => answer(stored),
        PutProfile::VersionMismatch(current) => Err(ApiError::ProfileVersion(current)),
    }
}

fn answer(stored: StoredProfile) -> Result<Response, ApiError> {
    let etag = format!("\"{}\"", stored.version);
    let profile = documents::read(stored)?;
    let mut response = json(StatusCode::OK, &profile);
    let etag = HeaderValue::try_from(etag).ok().map(|value| (ETAG, value));
    response.headers_mut().extend(etag);
    Ok(response)
}

/// The versions that `If-Match` names (RFC 9110, section 13.1.1: compared strongly); `None` without it, or with `*`. A tag
/// that is not one of ours matches nothing.
fn expected(headers: &HeaderMap) -> Option<Vec<i64>> {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    values.peek()?;
    let tags: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if tags == ["*"] {
        return None;
    }
    let version = |tag: &&str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Some(tags.iter().filter_map(version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_names_versions() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
            expected(&headers)
        };
        assert_eq!(expected(&HeaderMap::new()), None);
        assert_eq!(of("*"), None);
        assert_eq!(of("\"3\", \"4\""), Some(vec![3, 4]));
        assert_eq!(of("W/\"3\""), Some(vec![]));
        assert_eq!(of("x"), Some(vec![]));
    }
}
