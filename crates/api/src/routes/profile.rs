//! `/v1/profile`: the seller, as the tenant's documents show it.

pub(crate) mod schema;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use sheaf_documents::Profile;
use sheaf_store::{NewProfile, PutProfile, StoredProfile};
use sheaf_web::answer::json;
use sheaf_web::auth::{Reader, Settings};
use sheaf_web::body::JsonBody;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::{self, Preconditions};
use sheaf_web::observe::request_id::Requested;
use sheaf_web::query;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::invoice::document;
use crate::schema::ProfileDoc;
use crate::state::Shared;

problems! {
    GetProblems {
        404: ProfileNotFound, ": none was set yet";
    }
}

/// The tenant's profile.
#[utoipa::path(
    get, path = "/v1/profile", tag = "documents", operation_id = "getProfile",
    security(("bearer" = []), ("apiKey" = [])),
    responses(
        (
            status = 200,
            body = ProfileDoc,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
        GetProblems,
    ),
)]
pub(crate) async fn get(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let stored = app.store.profile(auth.tenant_id).await?;
    answer(stored.ok_or(Error::NotFound(Noun::Profile))?)
}

problems! {
    PutProblems {
        403: TenantMismatch, ForbiddenRole, TenantCredentialRequired;
        412: VersionMismatch;
        422: "The first field's code: ", MissingField, UnknownField, StringTooLong, InvalidIban,
            " for example";
    }
}

/// Set the tenant's profile, the whole of it. The same profile again changes nothing.
#[utoipa::path(
    put, path = "/v1/profile", tag = "documents", operation_id = "putProfile",
    request_body = ProfileDoc,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        (
            "If-Match" = Option<String>,
            Header,
            description = "The version that the client has seen, quoted; `\"0\"` when there was \
                none",
        ),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "`*`: only where there is none",
        ),
    ),
    responses(
        (
            status = 200,
            body = ProfileDoc,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
        PutProblems,
    ),
)]
pub(crate) async fn put(
    Settings(auth): Settings,
    State(app): State<Shared>,
    requested: Requested,
    Preconditions { expected }: Preconditions,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let profile = Profile::parse(&body.bytes)?;
    let new = NewProfile {
        tenant: auth.tenant_id,
        profile: serde_json::to_value(&profile)
            .map_err(|error| Error::Internal(error.to_string()))?,
        expected,
        origin: requested.by(auth.actor),
    };
    match app.store.put_profile(&new).await? {
        PutProfile::Stored(stored) => answer(stored),
        PutProfile::VersionMismatch(current) => Err(Error::VersionMismatch { current }.into()),
    }
}

fn answer(stored: StoredProfile) -> Result<Response, ApiError> {
    let version = stored.version;
    let profile = document::read(stored)?;
    let mut response = json(StatusCode::OK, &profile);
    etag::set(response.headers_mut(), version);
    Ok(response)
}
