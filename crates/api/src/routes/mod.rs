//! One module a noun. Each handler parses, makes one call, and responds.

pub(crate) mod api_key;
pub(crate) mod archive;
pub(crate) mod customer;
pub(crate) mod event;
pub(crate) mod invoice;
mod number_series;
mod ops;
pub(crate) mod privacy;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod tenant;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use sheaf_model::plain_value;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};
use uuid::Uuid;

use crate::error::{ApiError, Noun};
use crate::observe::metrics::Metrics;
use crate::state::Shared;

/// Every documented route.
pub(crate) fn all() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(crate::routes::invoice::document::described())
        .routes(routes!(
            crate::routes::tenant::create,
            crate::routes::tenant::list
        ))
        .routes(routes!(crate::routes::tenant::get))
        .routes(routes!(
            crate::routes::api_key::create,
            crate::routes::api_key::list
        ))
        .routes(routes!(crate::routes::api_key::revoke))
        .routes(routes!(crate::routes::api_key::rotate))
        .routes(routes!(
            crate::routes::api_key::create_own,
            crate::routes::api_key::list_own
        ))
        .routes(routes!(crate::routes::api_key::revoke_own))
        .routes(routes!(crate::routes::api_key::rotate_own))
        .routes(routes!(
            crate::routes::invoice::create,
            crate::routes::invoice::list
        ))
        .routes(routes!(
            crate::routes::invoice::get,
            crate::routes::invoice::change::edit
        ))
        .routes(routes!(crate::routes::invoice::change::issue))
        .routes(routes!(crate::routes::invoice::change::send))
        .routes(routes!(crate::routes::invoice::change::cancel))
        .routes(routes!(crate::routes::invoice::change::pay))
        .routes(routes!(crate::routes::invoice::change::reverse))
        .routes(routes!(crate::routes::invoice::change::refund))
        .routes(routes!(crate::routes::invoice::change::credit))
        .routes(routes!(crate::routes::invoice::change::apply))
        .routes(routes!(crate::routes::invoice::change::recall))
        .routes(routes!(crate::routes::invoice::validate::validate))
        .routes(routes!(crate::routes::event::of_invoice))
        .routes(routes!(crate::routes::event::feed))
        .routes(routes!(number_series::list))
        .routes(routes!(number_series::set))
        .routes(routes!(
            crate::routes::customer::create,
            crate::routes::customer::list
        ))
        .routes(routes!(
            crate::routes::customer::get,
            crate::routes::customer::update,
            crate::routes::customer::delete
        ))
        .routes(routes!(crate::routes::customer::merge))
        .routes(routes!(crate::routes::customer::list_invoices))
        .routes(routes!(crate::routes::customer::balance))
        .routes(routes!(privacy::erase, privacy::receipt))
        .routes(routes!(privacy::list_retention))
        .routes(routes!(privacy::put_retention))
        .routes(routes!(crate::routes::report::summary))
        .routes(routes!(crate::routes::report::aging))
        .routes(routes!(profile::get, profile::put))
        .routes(routes!(crate::routes::invoice::upload::route::upload))
        .routes(routes!(
            crate::routes::invoice::upload::route::platform_upload
        ))
        .routes(routes!(archive::list_files))
        .routes(routes!(
            crate::routes::archive::column::get,
            crate::routes::archive::column::put
        ))
        .routes(routes!(crate::routes::archive::query::query))
        .routes(routes!(crate::routes::archive::export::export))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
}

/// The API's own description: the document, and Swagger UI over it.
pub(crate) fn docs(api: &OpenApi) -> Router<Shared> {
    let document = bytes::Bytes::from(api.to_json().unwrap_or_default());
    let serve = move || {
        let document = document.clone();
        async move { json_bytes(StatusCode::OK, document) }
    };
    Router::new()
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
        .layer(map_response(page))
}

/// What a page of ours may load: what comes from here, and nothing that is written into it. Swagger
/// UI sets styles from its script, and draws icons from `data:` URLs.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

async fn page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// `GET /metrics`, for a listener of its own.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(ops::metrics))
        .with_state(metrics)
}

/// A page of a list, as answered.
#[derive(Serialize)]
struct PageOut<T> {
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

/// A JSON answer of bytes that are JSON already.
fn json_bytes(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JSON of our own documents: strings, numbers and lists of them, which always can be written.
fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A JSON answer.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_bytes(status, to_bytes(value))
}

/// The id in a path. One that cannot exist is not found, like any other that does not.
fn id_in(path: Result<Path<String>, PathRejection>, noun: Noun) -> Result<Uuid, ApiError> {
    let Ok(Path(text)) = path else {
        return Err(ApiError::NotFound(noun));
    };
    parse_id(&text, noun)
}

fn parse_id(text: &str, noun: Noun) -> Result<Uuid, ApiError> {
    // Only the hyphenated form: an id has one spelling.
    plain_value::uuid(text).map_err(|_| ApiError::NotFound(noun))
}
