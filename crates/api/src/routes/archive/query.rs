//! `/v1/archive/query`: read-only SQL over the tenant's archive.

pub(crate) mod schema;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use sheaf_web::auth::Reader;
use sheaf_web::body::JsonBody;
use sheaf_web::observe::request_id::RequestId;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::archive::query::schema::{QueryIn, QueryOut};
use crate::state::Shared;

problems! {
    QueryProblems {
        400: InvalidSql, ": no SQL, or of tables, columns or functions that there are not";
        422: NotReadOnly, QueryTooComplex, QueryFailed, QueryMemoryExceeded, TooManyRows,
            TooManyHotRows, MissingField, UnknownField, InvalidType;
        429: TooManyQueries;
        501: NotBuilt, ": this build of the server has no SQL";
        504: QueryTimeout;
    }
}

/// One read-only SQL query over the tables `invoices`, `lines`, `payments` and `events` of the
/// tenant's archive, or `EXPLAIN` of one. docs/archive-sql.md has the columns and the limits.
/// Without `format`, `Accept` decides between JSON, `text/csv` and
/// `application/vnd.apache.arrow.stream`. The answer is streamed: one that fails on its way ends,
/// as JSON, with `error` in place of `stats`; as CSV and Arrow it breaks off.
#[utoipa::path(
    post, path = "/v1/archive/query", tag = "archive", operation_id = "queryArchive",
    security(("bearer" = []), ("apiKey" = [])),
    request_body = QueryIn,
    responses(
        (
            status = 200,
            content(
                (QueryOut = "application/json"),
                (String = "text/csv"),
                (Vec<u8> = "application/vnd.apache.arrow.stream"),
            ),
            headers(
                (
                    "Sheaf-Tier" = String,
                    description = "`cold` or `hot, cold`: what the query reads"
                ),
                (
                    "Sheaf-Freshness" = String,
                    description = "The moment of the snapshot that the query sees"
                ),
            ),
        ),
        QueryProblems,
    ),
)]
pub(crate) async fn query(
    Reader(auth): Reader,
    State(app): State<Shared>,
    request_id: RequestId,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let input = body.parse()?;
    answer(&app, auth.tenant_id, (&headers, request_id), input).await
}

#[cfg(feature = "sql")]
use engine::answer;

#[cfg(not(feature = "sql"))]
async fn answer(
    _: &Shared,
    _: sheaf_model::TenantId,
    _: (&HeaderMap, RequestId),
    _: QueryIn,
) -> Result<Response, ApiError> {
    Err(ApiError::NotBuilt("SQL over the archive"))
}

#[cfg(feature = "sql")]
pub(crate) mod engine;
