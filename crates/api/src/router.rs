//! The router: every route, the layer around it, and the document that describes it.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use sheaf_web::Error;
use sheaf_web::answer::json_bytes;
use tokio::net::TcpListener;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::routes::{
    api_key, archive, customer, event, invoice, number_series, ops, privacy, profile, report,
    tenant,
};
use crate::state::{App, Shared};

/// Serves `app` on `listener` until `shutdown` resolves; see [`sheaf_web::serve()`].
///
/// # Errors
/// A JWK set in a file that cannot be read.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    sheaf_web::serve(listener, router(Arc::clone(&app)), &app.web, shutdown).await
}

/// All routes of the contract, observed (request ids, metrics, access log, timeouts), ready to be
/// served.
pub fn router(app: Arc<App>) -> Router {
    let (router, api) = documented();
    let observe = app.web.observe(api.paths.paths.keys().map(String::as_str));
    router
        .merge(docs(&api))
        .fallback(|| async { Error::RouteNotFound })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(observe)
        .with_state(Shared(app))
}

/// The OpenAPI 3.1 document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    documented().1
}

fn documented() -> (Router<Shared>, OpenApi) {
    let (router, mut api) = all().split_for_parts();
    crate::openapi::complete(&mut api);
    (router, api)
}

/// Every documented route.
fn all() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(invoice::document::described())
        .routes(routes!(tenant::create, tenant::list))
        .routes(routes!(tenant::get))
        .routes(routes!(api_key::create, api_key::list))
        .routes(routes!(api_key::revoke))
        .routes(routes!(api_key::rotate))
        .routes(routes!(api_key::create_own, api_key::list_own))
        .routes(routes!(api_key::revoke_own))
        .routes(routes!(api_key::rotate_own))
        .routes(routes!(invoice::create, invoice::list))
        .routes(routes!(invoice::get, invoice::change::edit))
        .routes(routes!(invoice::change::issue))
        .routes(routes!(invoice::change::send))
        .routes(routes!(invoice::change::cancel))
        .routes(routes!(invoice::change::money::pay))
        .routes(routes!(invoice::change::money::reverse))
        .routes(routes!(invoice::change::money::refund))
        .routes(routes!(invoice::change::money::credit))
        .routes(routes!(invoice::change::money::apply))
        .routes(routes!(invoice::change::recall))
        .routes(routes!(invoice::validate::validate))
        .routes(routes!(event::of_invoice))
        .routes(routes!(event::feed))
        .routes(routes!(number_series::list))
        .routes(routes!(number_series::set))
        .routes(routes!(customer::create, customer::list))
        .routes(routes!(customer::get, customer::update, customer::delete))
        .routes(routes!(customer::merge))
        .routes(routes!(customer::list_invoices))
        .routes(routes!(customer::balance))
        .routes(routes!(privacy::erase, privacy::receipt))
        .routes(routes!(privacy::list_retention))
        .routes(routes!(privacy::put_retention))
        .routes(routes!(report::summary))
        .routes(routes!(report::aging))
        .routes(routes!(profile::get, profile::put))
        .routes(routes!(invoice::upload::route::upload))
        .routes(routes!(invoice::upload::route::platform_upload))
        .routes(routes!(archive::list_files))
        .routes(routes!(archive::column::get, archive::column::put))
        .routes(routes!(archive::query::query))
        .routes(routes!(archive::export::export))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
}

/// The API's own description: the document, and Swagger UI over it.
fn docs(api: &OpenApi) -> Router<Shared> {
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
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

async fn page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
