//! Bulk uploads: NDJSON in, chunks of invoices to the store, counts out, in bounded memory.
//!
//! body -> [`source`] (time bound, gzip, fingerprint) -> [`lines`] (split, bounded) -> [`parse`]
//! (validate, on blocking threads) -> [`stream`] (chunks, up to two in flight) or [`atomic`]
//! (spool, then one transaction). Nothing reads ahead of what is being written: a slow store slows
//! the client.

pub(crate) mod route;

pub(crate) mod atomic;
pub(crate) mod ids;
pub(crate) mod lease;
pub(crate) mod lines;
pub(crate) mod marks;
pub(crate) mod options;
pub(crate) mod parse;
pub(crate) mod quota;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod summary;
pub(crate) mod tenants;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use sheaf_store::StoreError;
use sheaf_web::body::{Encoding, check_media_type, content_length, encoding_of};
use sheaf_web::idempotency;

use crate::error::ApiError;
use crate::state::Shared;
use ids::LineIds;
use lease::{Begun, Lease};
use lines::LineReader;
use options::{Caller, Options};
use parse::Parser;
use quota::Held;
use source::Source;
use tenants::Tenants;

/// Runs one upload to its answer.
pub(crate) async fn run(
    app: &Shared,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let options = Options::parse(&parts.uri, caller.owner)?;
    let key = idempotency::key_of(&parts.headers)?;
    check_media_type(&parts.headers, "application/x-ndjson")?;
    let encoding = encoding_of(&parts.headers)?;
    if options.atomic
        && encoding == Encoding::Identity
        && let Some(bytes) = content_length(&parts.headers)
    {
        app.uploads.fits(bytes)?;
    }
    let hasher = key
        .is_some()
        .then(|| idempotency::hasher(&parts.method, &parts.uri));
    let held = app.uploads.enter(caller.key_owner(), options.atomic)?;
    let mut source = Source::new(body, encoding, &app.bulk, hasher);
    let Some(key) = key else {
        let body = upload(app, &caller, options, source, (held, None)).await?;
        return Ok(respond(body));
    };
    let target = (&parts.method, &parts.uri);
    match Lease::begin(app, caller.key_owner(), key, target).await? {
        Begun::Answered(stored) => {
            // Whether this is the same upload is known only once all of it is read.
            while source.next().await?.is_some() {}
            let replay = stored.judge(&source.fingerprint().unwrap_or_default());
            Ok(idempotency::replay(
                replay.map_err(StoreError::from)?.clone(),
            ))
        }
        Begun::Ours(lease) => {
            let body = upload(app, &caller, options, source, (held, Some(lease))).await?;
            Ok(respond(body))
        }
    }
}

/// Runs the upload; the answer, which is kept under its key.
async fn upload(
    app: &Shared,
    caller: &Caller,
    options: Options,
    source: Source,
    (held, lease): (Held, Option<Lease>),
) -> Result<Vec<u8>, ApiError> {
    let tenants = Tenants::new(
        app.store.clone(),
        caller.owner,
        options.create(),
        app.bulk.max_new_tenants,
    );
    let config = &app.bulk;
    let line_limit = match options.restore {
        true => config.restore_line_limit,
        false => config.line_limit,
    };
    let now = app.clock.now();
    let ids = lease.as_ref().map(|lease| LineIds::new(lease.origin()));
    let parser = Parser::new(tenants, now, caller, line_limit, options, ids);
    let reader = LineReader::new(source, config, line_limit);
    if options.atomic {
        return Box::pin(atomic::run(
            app,
            caller.owner,
            parser,
            reader,
            (held, lease),
        ))
        .await;
    }
    let (summary, source) = Box::pin(stream::run(app, parser, reader, lease.as_ref())).await?;
    summary.record();
    let body = summary.to_json()?;
    if let Some(lease) = lease {
        let kept = lease.answer(source.fingerprint().unwrap_or_default(), &body);
        lease.finish(&kept).await?;
    }
    Ok(body)
}

fn respond(body: Vec<u8>) -> Response {
    let mut response = Bytes::from(body).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
