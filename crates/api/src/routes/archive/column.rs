//! Keys of `metadata` that are columns of archive SQL.

pub(crate) mod schema;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::{MAX_METADATA_COLUMNS, MetadataColumns, NewMetadataColumns, PutMetadataColumns};
use sheaf_web::answer::json;
use sheaf_web::auth::{Reader, Settings};
use sheaf_web::body::JsonBody;
use sheaf_web::etag::{self, Preconditions};
use sheaf_web::observe::request_id::Requested;
use sheaf_web::{Error, query};

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{MetadataColumnsIn, MetadataColumnsOut};
use crate::state::Shared;

/// Characters of a key, at most. PostgreSQL's identifiers have 63 bytes, and a column's name is
/// longer by its prefix.
const MAX_KEY: usize = 50;

/// The keys of `metadata` that are columns of the archive: `meta_<key>` of the SQL table
/// `invoices`, and of its objects.
#[utoipa::path(
    get, path = "/v1/archive/columns", tag = "archive", operation_id = "getArchiveColumns",
    security(("bearer" = []), ("apiKey" = [])),
    responses(
        (
            status = 200,
            body = MetadataColumnsOut,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
    ),
)]
pub(crate) async fn get(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    Ok(answer(app.store.metadata_columns(auth.tenant_id).await?))
}

problems! {
    PutProblems {
        412: VersionMismatch;
        422: InvalidMetadataKey, DuplicateMetadataKey, TooManyMetadataKeys, MissingField,
            UnknownField, InvalidType;
    }
}

/// Declare which keys of `metadata` are columns of the archive, all of them. SQL has the columns at
/// once; objects that are written from then on hold them, and for older ones the values are taken
/// out of `metadata`, so that nothing is written anew. The same again changes nothing.
#[utoipa::path(
    put, path = "/v1/archive/columns", tag = "archive", operation_id = "putArchiveColumns",
    request_body = MetadataColumnsIn,
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
            body = MetadataColumnsOut,
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
    let input: MetadataColumnsIn = body.parse()?;
    check(&input.metadata_keys)?;
    let new = NewMetadataColumns {
        tenant: auth.tenant_id,
        keys: input.metadata_keys,
        expected,
        origin: requested.by(auth.actor),
    };
    match app.store.put_metadata_columns(&new).await? {
        PutMetadataColumns::Stored(declared) => Ok(answer(declared)),
        PutMetadataColumns::VersionMismatch(current) => {
            Err(Error::VersionMismatch { current }.into())
        }
    }
}

/// A key is a part of a column's name: it must not need quotes, nor differ from another in case
/// alone, since most readers of Parquet do not look at that.
fn check(keys: &[String]) -> Result<(), Invalid> {
    if keys.len() > MAX_METADATA_COLUMNS {
        let detail = format!("{MAX_METADATA_COLUMNS} at most");
        return Err(FieldError::new("metadata_keys", Code::TooManyMetadataKeys, detail).into());
    }
    for (at, key) in keys.iter().enumerate() {
        let field = || format!("metadata_keys[{at}]");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || key.len() > MAX_KEY || !key.chars().all(is_word) {
            let detail = format!("1 to {MAX_KEY} letters, digits and underscores of ASCII");
            return Err(FieldError::new(field(), Code::InvalidMetadataKey, detail).into());
        }
        if keys[..at]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(key))
        {
            let detail = "stands there already, be it in another case";
            return Err(FieldError::new(field(), Code::DuplicateMetadataKey, detail).into());
        }
    }
    Ok(())
}

fn answer(declared: MetadataColumns) -> Response {
    let version = declared.version;
    let mut response = json(StatusCode::OK, &MetadataColumnsOut::from(declared));
    etag::set(response.headers_mut(), version);
    response
}
