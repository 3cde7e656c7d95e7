//! `/v1/archive/export`: years of the tenant, streamed; or a manifest of their objects.

pub(crate) mod schema;

use std::io;
use std::time::Duration;

use async_compression::tokio::bufread::GzipEncoder;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use sheaf_archive::export::DEFAULT_URL_AGE;
use sheaf_archive::object::storage::MAX_URL_AGE;
use sheaf_archive::{Export, ExportError, ExportFormat, ExportOptions, ExportTiers};
use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use sheaf_web::answer::{SHEAF_TIER, json};
use sheaf_web::auth::Reader;
use sheaf_web::observe::request_id::RequestId;
use sheaf_web::query::{Params, invalid};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::archive::export::schema::{ExportParams, ManifestOut};
use crate::state::Shared;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Lines(ExportOptions),
    Manifest {
        from: i16,
        to: i16,
        expires: Duration,
    },
}

impl Asked {
    fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let mut params = Params::of(uri)?;
        let format = match params.take("format")?.as_deref() {
            None | Some("ndjson") => Some(ExportFormat::Ndjson),
            Some("csv") => Some(ExportFormat::Csv),
            Some("parquet") => None,
            Some(_) => return Err(invalid("format", "must be ndjson, csv or parquet").into()),
        };
        let mut year = |name, default| {
            let year = params.count(name, "a year")?.unwrap_or(default);
            let known = (MIN_YEAR..=MAX_YEAR).contains(&year);
            known
                .then_some(year)
                .ok_or_else(|| invalid(name, "must be a year from 1970 to 2199"))
        };
        let (from, to) = (year("from", MIN_YEAR)?, year("to", MAX_YEAR)?);
        if from > to {
            return Err(invalid("to", "must not be before from").into());
        }
        let tier = params.take("tier")?;
        let asked = match format {
            Some(format) => {
                let tiers = match tier.as_deref() {
                    None | Some("all") => ExportTiers::All,
                    Some("hot") => ExportTiers::Hot,
                    Some("cold") => ExportTiers::Cold,
                    Some(_) => return Err(invalid("tier", "must be all, hot or cold").into()),
                };
                let after = params.uuid("after")?;
                let limit = params.count("limit", "a number")?;
                Self::Lines(ExportOptions {
                    from,
                    to,
                    tiers,
                    format,
                    after,
                    limit,
                })
            }
            None => {
                if tier.is_some_and(|tier| tier != "cold") {
                    return Err(invalid("tier", "must be cold: objects are the archive's").into());
                }
                let seconds = params.count("expires", "a number of seconds")?;
                let expires = seconds.map_or(DEFAULT_URL_AGE, Duration::from_secs);
                if expires.is_zero() || expires > MAX_URL_AGE {
                    return Err(invalid("expires", "must be from 1 to 43200 seconds").into());
                }
                Self::Manifest { from, to, expires }
            }
        };
        params.finish()?;
        Ok(asked)
    }
}

problems! {
    ExportProblems {
        422: ExportTooLarge, " (parquet)";
        429: TooManyExports;
    }
}

/// The invoices of some years, ascending by id, each once, from both tiers.
///
/// `ndjson` has each as `GET /v1/invoices/{id}` tells it, which is what `POST /v1/invoices/bulk`
/// takes back; `csv` a record each, without lines and payments; `parquet` is a manifest: the
/// archived objects with URLs, and the rows in them that are out of date. Lines are streamed. An
/// export that fails on its way is broken off, and the connection with it: go on with `after`, the
/// id of the last whole line. docs/export.md has the columns and the statements that read a
/// manifest.
#[utoipa::path(
    get, path = "/v1/archive/export", tag = "archive", operation_id = "exportArchive",
    security(("bearer" = []), ("apiKey" = [])),
    params(ExportParams),
    responses(
        (
            status = 200,
            content(
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (ManifestOut = "application/json"),
            ),
            headers(
                (
                    "Sheaf-Tier" = String,
                    description = "`hot`, `cold` or `hot, cold`: what the export reads"
                ),
                ("Content-Disposition" = String, description = "A name for the file"),
            ),
        ),
        ExportProblems,
    ),
)]
pub(crate) async fn export(
    Reader(auth): Reader,
    State(app): State<Shared>,
    request_id: RequestId,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    match Asked::parse(&uri)? {
        Asked::Lines(options) => {
            let mut export = app.archive.export(auth.tenant_id, options)?;
            // What fails before the first line is a problem with its own status.
            let first = export.next().await.transpose()?;
            let chunks = chunks(first, export, request_id);
            Ok(lines(&options, chunks, takes_gzip(&headers)))
        }
        Asked::Manifest { from, to, expires } => {
            let made = app
                .archive
                .manifest(auth.tenant_id, from..=to, expires)
                .await?;
            let mut response = json(StatusCode::OK, &made);
            name(response.headers_mut(), "cold", from, to, "manifest.json");
            Ok(response)
        }
    }
}

fn name(headers: &mut HeaderMap, tiers: &'static str, from: i16, to: i16, extension: &str) {
    headers.insert(SHEAF_TIER, HeaderValue::from_static(tiers));
    let file = format!("attachment; filename=\"invoices-{from}-{to}.{extension}\"");
    let file = HeaderValue::try_from(file).ok();
    headers.extend(file.map(|value| (CONTENT_DISPOSITION, value)));
}

fn lines(
    options: &ExportOptions,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    gzip: bool,
) -> Response {
    let body = if gzip {
        let encoder = GzipEncoder::new(StreamReader::new(Box::pin(chunks)));
        Body::from_stream(ReaderStream::with_capacity(encoder, 64 << 10))
    } else {
        Body::from_stream(chunks)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let tiers = match options.tiers {
        ExportTiers::All => "hot, cold",
        ExportTiers::Hot => "hot",
        ExportTiers::Cold => "cold",
    };
    let format = options.format;
    name(headers, tiers, options.from, options.to, format.as_str());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The body: dropped with the client's connection, which ends the export. An error in it breaks the
/// connection off, so that a part never looks like the whole.
fn chunks(
    first: Option<Bytes>,
    export: Export,
    request_id: RequestId,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let begun = (first, export, request_id);
    stream::unfold(begun, |(first, mut export, request_id)| async move {
        if let Some(first) = first {
            return Some((Ok(first), (None, export, request_id)));
        }
        let chunk = export.next().await?;
        let chunk = chunk.map_err(|error| {
            told(&error, &request_id.0);
            io::Error::other(error)
        });
        Some((chunk, (None, export, request_id)))
    })
}

fn told(error: &ExportError, request_id: &str) {
    match error {
        ExportError::Idle { .. } => tracing::info!(%error, request_id, "an export is broken off"),
        _ => {
            tracing::warn!(%error, request_id, "an export failed on its way; it is broken off")
        }
    }
}

/// Whether `Accept-Encoding` names gzip, and not with `q=0`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|n| n.eq_ignore_ascii_case("gzip"));
        let refused = |part: &str| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.chars().all(|c| matches!(c, '0' | '.')))
        };
        named && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_asked_for() {
        for (accept, taken) in [
            ("", false),
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*", false),
            ("gzipped", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
            assert_eq!(takes_gzip(&headers), taken, "{accept}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read_strictly() {
        let asked = |query: &str| Asked::parse(&format!("/x?{query}").parse().unwrap());
        let Asked::Lines(options) = asked("").unwrap() else {
            unreachable!("lines")
        };
        assert_eq!((options.from, options.to), (1970, 2199));
        assert_eq!(options.format, ExportFormat::Ndjson);
        let manifest = asked("format=parquet&from=2020&to=2020&expires=60&tier=cold").unwrap();
        let (from, to, expires) = (2020, 2020, Duration::from_mins(1));
        assert_eq!(manifest, Asked::Manifest { from, to, expires });
        for bad in [
            "format=xml",
            "from=1969",
            "to=2200",
            "from=2021&to=2020",
            "from=twenty",
            "tier=warm",
            "after=1",
            "limit=-1",
            "limit=%2B5",
            "from=%2B2020",
            "after=%7B0190163d-8694-739b-aea5-966c26f8ad90%7D",
            "expires=60",
            "format=parquet&expires=0",
            "format=parquet&expires=43201",
            "format=parquet&tier=all",
            "format=parquet&after=0190163d-8694-739b-aea5-966c26f8ad90",
            "years=2020",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
