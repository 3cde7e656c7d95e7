//! `/v1/archive/query`: read-only SQL over the tenant's archive.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use chrono::SecondsFormat;
use futures_util::stream;
use sheaf_archive::{Answer, Format, QueryOptions, Tiers};

use super::invoices::SHEAF_TIER;
use crate::app::Shared;
use crate::auth::Reader;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::schemas::query::{QueryFormat, QueryIn, QueryOut, QueryTier};

/// The moment up to which the answer is complete.
const FRESHNESS: HeaderName = HeaderName::from_static("sheaf-freshness");

/// One read-only SQL query over the tables `invoices`, `lines`, `payments` and `events` of the tenant's archive, or
/// `EXPLAIN` of one. docs/archive-sql.md has the columns and the limits. Without `format`, `Accept` decides between JSON,
/// `text/csv` and `application/vnd.apache.arrow.stream`. The answer is streamed: one that fails on its way ends, as JSON,
/// with `error` in place of `stats`; as CSV and Arrow it breaks off.
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
        (status = 504, description = "`query_timeout`")))]
pub(super) async fn query(
    Reader(auth): Reader,
    State(app): State<Shared>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let input: QueryIn = body.parse()?;
    let mut options = QueryOptions {
        tiers: match input.tier.unwrap_or_default() {
            QueryTier::Cold => Tiers::Cold,
            QueryTier::All => Tiers::All,
        },
        ..QueryOptions::default()
    };
    if let Some(rows) = input.max_rows {
        options.max_rows = usize::try_from(rows).unwrap_or(usize::MAX);
    }
    let format = match input.format {
        Some(QueryFormat::Json) => Format::Json,
        Some(QueryFormat::Csv) => Format::Csv,
        Some(QueryFormat::Arrow) => Format::Arrow,
        None => accepted(&headers),
    };
    let run = app
        .archive
        .query(auth.tenant_id, &input.sql, options)
        .await?;
    let answer = Answer::begin(run, format).await?;
    Ok(respond(answer, format))
}

/// The first format that `Accept` names; JSON where it names none.
fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let named = accept.split(',').find_map(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        [Format::Json, Format::Csv, Format::Arrow]
            .into_iter()
            .find(|format| {
                let ours = format.media_type().split(';').next().unwrap_or_default();
                essence.eq_ignore_ascii_case(ours)
            })
    });
    named.unwrap_or_default()
}

fn respond(answer: Answer, format: Format) -> Response {
    let tiers = match answer.run().tiers() {
        Tiers::Cold => "cold",
        Tiers::All => "hot, cold",
    };
    let as_of = answer.run().as_of();
    let as_of = as_of.to_rfc3339_opts(SecondsFormat::Micros, true);
    // Dropped with the client's connection, which ends the query.
    let chunks = stream::unfold(answer, |mut answer| async move {
        let chunk = answer.next().await?;
        if let Err(error) = &chunk {
            tracing::warn!(%error, "a query failed on its way; its answer is broken off");
        }
        Some((chunk, answer))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(SHEAF_TIER, HeaderValue::from_static(tiers));
    headers.extend(HeaderValue::try_from(as_of).ok().map(|v| (FRESHNESS, v)));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accept_names_a_format() {
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/html, text/csv;q=0.9", Format::Csv),
            ("application/vnd.apache.arrow.stream", Format::Arrow),
            ("Application/JSON, text/csv", Format::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(accepted(&headers), format, "{accept}");
        }
    }
}
