//! `/v1/archive/query`: read-only SQL over the tenant's archive.

pub(crate) mod schema;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::error::ApiError;
use crate::routes::archive::query::schema::{QueryIn, QueryOut};
use crate::state::Shared;
use sheaf_web::auth::Reader;
use sheaf_web::body::JsonBody;

/// One read-only SQL query over the tables `invoices`, `lines`, `payments` and `events` of the
/// tenant's archive, or `EXPLAIN` of one. docs/archive-sql.md has the columns and the limits.
/// Without `format`, `Accept` decides between JSON, `text/csv` and
/// `application/vnd.apache.arrow.stream`. The answer is streamed: one that fails on its way ends,
/// as JSON, with `error` in place of `stats`; as CSV and Arrow it breaks off.
#[utoipa::path(post, path = "/v1/archive/query", tag = "archive", operation_id = "queryArchive",
    security(("bearer" = []), ("apiKey" = [])), request_body = QueryIn,
    responses(
        (status = 200, content(
            (QueryOut = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream")),
         headers(("Sheaf-Tier" = String, description = "`cold` or `hot, cold`: what the query reads"),
                 ("Sheaf-Freshness" = String, description = "The moment of the snapshot that the query sees"))),
        (status = 400, description = "`invalid_sql`: no SQL, or of tables, columns or functions that there are not"),
        (status = 422, description = "`not_read_only`, `query_too_complex`, `query_failed`, `query_memory_exceeded`, `too_many_rows`, \
            `too_many_hot_rows`, `missing_field`, `unknown_field`, `invalid_type`"),
        (status = 429, description = "`too_many_queries`"),
        (status = 501, description = "`not_built`: this build of the server has no SQL"),
        (status = 504, description = "`query_timeout`")))]
pub(crate) async fn query(
    Reader(auth): Reader,
    State(app): State<Shared>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    answer(&app, auth.tenant_id, &headers, body.parse()?).await
}

#[cfg(feature = "sql")]
use engine::answer;

#[cfg(not(feature = "sql"))]
async fn answer(
    _: &Shared,
    _: sheaf_model::TenantId,
    _: &HeaderMap,
    _: QueryIn,
) -> Result<Response, ApiError> {
    Err(ApiError::NotBuilt("SQL over the archive"))
}

#[cfg(feature = "sql")]
pub(crate) mod engine;
