//! A query's way through the engine, and its answer in one of three formats.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use chrono::SecondsFormat;
use futures_util::stream;
use sheaf_archive::{Answer, Format, QueryOptions, Tiers};
use sheaf_model::TenantId;
use sheaf_web::answer::SHEAF_TIER;

use crate::error::ApiError;
use crate::routes::archive::query::schema::{QueryFormat, QueryIn, QueryTier};
use crate::state::Shared;
use sheaf_web::observe::request_id::RequestId;

/// The moment up to which the answer is complete.
const FRESHNESS: HeaderName = HeaderName::from_static("sheaf-freshness");

pub(super) async fn answer(
    app: &Shared,
    tenant: TenantId,
    (headers, request_id): (&HeaderMap, RequestId),
    input: QueryIn,
) -> Result<Response, ApiError> {
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
        None => accepted(headers),
    };
    let run = app.archive.query(tenant, &input.sql, options).await?;
    let answer = Answer::begin(run, format).await?;
    Ok(respond(answer, format, request_id))
}

/// The first format that `Accept` names; JSON where it names none.
fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers.get_all(ACCEPT).iter();
    let accept = accept.filter_map(|value| value.to_str().ok());
    let named = accept.flat_map(|text| text.split(',')).find_map(|range| {
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

fn respond(answer: Answer, format: Format, request_id: RequestId) -> Response {
    let tiers = match answer.run().tiers() {
        Tiers::Cold => "cold",
        Tiers::All => "hot, cold",
    };
    let as_of = answer.run().as_of();
    let as_of = as_of.to_rfc3339_opts(SecondsFormat::Micros, true);
    // Dropped with the client's connection, which ends the query.
    let begun = (answer, request_id);
    let chunks = stream::unfold(begun, |(mut answer, request_id)| async move {
        let chunk = answer.next().await?;
        if let Err(error) = &chunk {
            let request_id = &*request_id.0;
            let what = "a query failed on its way; its answer is broken off";
            tracing::warn!(%error, request_id, "{what}");
        }
        Some((chunk, (answer, request_id)))
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
        // A list may come in several headers.
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static("text/html"));
        headers.append(ACCEPT, HeaderValue::from_static("text/csv"));
        assert_eq!(accepted(&headers), Format::Csv);
    }
}
