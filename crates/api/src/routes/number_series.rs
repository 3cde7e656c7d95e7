//! `/v1/number-series`: what the tenant's invoice numbers look like, and where they go on.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use chrono::Datelike as _;
use serde::{Deserialize, Serialize};
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::{INVOICE_SERIES, NOTE_SERIES, NewEvent, NumberSeries, SERIES_YEAR, StoreError};
use sheaf_web::answer::json;
use sheaf_web::auth::{Reader, Settings, TenantAuth};
use sheaf_web::body::JsonBody;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::Preconditions;
use sheaf_web::observe::request_id::Requested;
use sheaf_web::query;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{NumberSeriesIn, NumberSeriesList, NumberSeriesOut};
use crate::state::Shared;

/// Characters of a prefix.
const MAX_PREFIX: usize = 40;
/// Digits of a number.
const MAX_PADDING: i16 = 12;
/// Where a series may be set to go on: numbers keep at most 12 digits.
const MAX_NEXT: i64 = 999_999_999_999;

/// A series is there from the beginning, but no version of it was ever told.
const UNSEEN: i64 = i64::MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesIn {
    prefix: String,
    padding: i16,
    next: Option<i64>,
    year: Option<i16>,
}

/// A series with its counts.
#[derive(Serialize)]
struct SeriesOut {
    series: String,
    prefix: String,
    padding: i16,
    counts: Vec<Count>,
}

#[derive(Serialize)]
struct Count {
    year: Option<i16>,
    next: i64,
}

/// The tenant's number series: `invoice` and `credit_note`.
#[utoipa::path(
    get, path = "/v1/number-series", tag = "invoices", operation_id = "listNumberSeries",
    security(("bearer" = []), ("apiKey" = [])),
    responses((status = 200, body = NumberSeriesList)),
)]
pub(crate) async fn list(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let data = read(&app, &auth).await?;
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({"data": data, "has_more": false, "next_cursor": null}),
    ))
}

async fn read(app: &Shared, auth: &TenantAuth) -> Result<Vec<SeriesOut>, ApiError> {
    let rows = app.store.number_series(auth.tenant_id).await?;
    let mut all: Vec<SeriesOut> = Vec::new();
    for row in &rows {
        // The row of year 0 comes first: it is the series' form.
        if row.year == 0 {
            let yearly = row.prefix.contains(SERIES_YEAR);
            all.push(SeriesOut {
                series: row.series.clone(),
                prefix: row.prefix.clone(),
                padding: row.padding,
                counts: (!yearly)
                    .then_some(Count {
                        year: None,
                        next: row.next,
                    })
                    .into_iter()
                    .collect(),
            });
        } else if let Some(series) = all.last_mut().filter(|s| s.prefix.contains(SERIES_YEAR)) {
            series.counts.push(Count {
                year: Some(row.year),
                next: row.next,
            });
        }
    }
    Ok(all)
}

problems! {
    SetProblems {
        404: NumberSeriesNotFound;
        409: NumberGoesBack;
        412: VersionMismatch, ": a series always exists, and has no ETag";
        422: StringTooLong, StringHasNul, PaddingOutOfRange, NumberOutOfRange, DateOutOfRange,
            UnknownField, MissingField, InvalidType;
    }
}

/// Set a series: the prefix, in which `{year}` is the year of issue and makes the numbers start
/// again every year; the digits; and the next number, which only goes forward. Documents that are
/// issued keep their numbers.
#[utoipa::path(
    put, path = "/v1/number-series/{series}", tag = "invoices", operation_id = "setNumberSeries",
    request_body = NumberSeriesIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(("series" = String, Path, description = "`invoice` or `credit_note`")),
    responses((status = 200, body = NumberSeriesOut), SetProblems),
)]
pub(crate) async fn set(
    Settings(auth): Settings,
    State(app): State<Shared>,
    requested: Requested,
    Preconditions { expected }: Preconditions,
    series: Result<Path<String>, PathRejection>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let series = series
        .ok()
        .map(|Path(series)| series)
        .filter(|series| [INVOICE_SERIES, NOTE_SERIES].contains(&series.as_str()))
        .ok_or(Error::NotFound(Noun::NumberSeries))?;
    let input: SeriesIn = body.parse()?;
    check(&input)?;
    if expected.is_some_and(|expected| !expected.allows(UNSEEN)) {
        return Err(Error::Unversioned.into());
    }
    let now = app.clock.now();
    let yearly = input.prefix.contains(SERIES_YEAR);
    let before = app.store.number_series(auth.tenant_id).await?;
    let next_of = |year: i16| {
        let row = before.iter().find(|s| s.series == series && s.year == year);
        row.map_or(1, |row| row.next)
    };
    let row = |year: i16, next: i64| NumberSeries {
        series: series.clone(),
        year,
        prefix: input.prefix.clone(),
        padding: input.padding,
        next,
    };
    let this_year = i16::try_from(now.year()).unwrap_or(i16::MAX);
    let mut rows = vec![row(
        0,
        if yearly {
            next_of(0)
        } else {
            input.next.unwrap_or(next_of(0))
        },
    )];
    if let Some(next) = input.next.filter(|_| yearly) {
        rows.push(row(input.year.unwrap_or(this_year), next));
    }
    let told = |rows: &[NumberSeries]| -> Vec<serde_json::Value> {
        let one = |s: &NumberSeries| {
            serde_json::json!({
                "year": s.year, "prefix": s.prefix, "padding": s.padding, "next": s.next,
            })
        };
        rows.iter()
            .filter(|s| s.series == series)
            .map(one)
            .collect()
    };
    let data = serde_json::json!({"series": series, "old": told(&before), "new": told(&rows)});
    let event = NewEvent::of_tenant(
        auth.tenant_id,
        "number_series.updated",
        requested.by(auth.actor.clone()),
        data.to_string(),
        now,
    );
    if !app
        .store
        .set_number_series(auth.tenant_id, &rows, &event)
        .await?
    {
        let conflict = StoreError::Conflict {
            code: Code::NumberGoesBack,
            detail: "next is below the number that the series has reached".to_owned(),
        };
        return Err(conflict.into());
    }
    let found = read(&app, &auth).await?;
    let found = found.into_iter().find(|s| s.series == series);
    Ok(json(
        StatusCode::OK,
        &found.ok_or(Error::NotFound(Noun::NumberSeries))?,
    ))
}

fn check(input: &SeriesIn) -> Result<(), Invalid> {
    let mut mistakes = Vec::new();
    if input.prefix.chars().count() > MAX_PREFIX {
        mistakes.push(FieldError::new(
            "prefix",
            Code::StringTooLong,
            "at most 40 characters",
        ));
    }
    if input.prefix.contains('\0') {
        mistakes.push(FieldError::new(
            "prefix",
            Code::StringHasNul,
            "must not contain U+0000",
        ));
    }
    if !(0..=MAX_PADDING).contains(&input.padding) {
        mistakes.push(FieldError::new(
            "padding",
            Code::PaddingOutOfRange,
            "from 0 to 12",
        ));
    }
    if input
        .next
        .is_some_and(|next| !(1..=MAX_NEXT).contains(&next))
    {
        mistakes.push(FieldError::new(
            "next",
            Code::NumberOutOfRange,
            "from 1 to 999999999999",
        ));
    }
    if input
        .year
        .is_some_and(|year| !(1970..=2199).contains(&year))
    {
        mistakes.push(FieldError::new(
            "year",
            Code::DateOutOfRange,
            "from 1970 to 2199",
        ));
    }
    Invalid::from_errors(mistakes).map_or(Ok(()), Err)
}
