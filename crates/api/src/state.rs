//! What the handlers share, and the router over it.

use std::sync::Arc;

use axum::Router;
use sheaf_archive::{Archive, InvoiceReader};
use sheaf_store::Store;
use utoipa::openapi::OpenApi;

use crate::auth::api_key;
use crate::auth::api_key::KeyCache;
use crate::auth::guesses::Guesses;
use crate::auth::{Jwt, KnownTenants, same_secret};
use crate::config::{ApiConfig, Clock};
use crate::error::ApiError;
use crate::observe::denials::Denials;
use crate::observe::layer::{Observe, RequestMetrics};
use crate::observe::metrics::Metrics;
use crate::rate_limit::Limits;
use crate::render_pool::Desk;
use crate::routes;
use crate::routes::invoice::upload::Quotas;

/// Characters of an admin key that nobody finds by trying: 128 bits even where each is a
/// hexadecimal digit.
const UNGUESSABLE: usize = 32;

/// Handlers take this as their state.
pub(crate) type Shared = Arc<App>;

/// The front door's parts. Cheap to make several of in one process; they share nothing but the
/// metrics' recorder.
pub struct App {
    pub(crate) store: Store,
    pub(crate) reader: InvoiceReader,
    pub(crate) archive: Archive,
    pub(crate) config: ApiConfig,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) keys: KeyCache,
    pub(crate) jwt: Option<Jwt>,
    pub(crate) tenants: KnownTenants,
    pub(crate) limits: Option<Limits>,
    pub(crate) guesses: Option<Guesses>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) desk: Desk,
    pub(crate) uploads: Quotas,
    admin_hash: [u8; 32],
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        store: Store,
        archive: &Archive,
        config: ApiConfig,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        Self {
            reader: archive.reader().clone(),
            archive: archive.clone(),
            keys: KeyCache::new(config.key_ttl),
            jwt: config.jwt.clone().map(Jwt::new),
            tenants: KnownTenants::new(),
            limits: config.rate_limit.map(Limits::new),
            guesses: config
                .guess_limit
                .map(|limit| Guesses::new(limit, config.proxies)),
            denials: Arc::new(Denials::new(config.denial_window, clock.clone())),
            desk: Desk::new(config.documents_per_tenant, config.documents),
            uploads: Quotas::new(&config.bulk),
            admin_hash: api_key::hash(&config.admin_key),
            store,
            config,
            metrics,
            clock,
        }
    }

    /// Whether the secret with this hash is the admin key. An empty admin key opens nothing.
    pub(crate) fn is_admin(&self, hash: &[u8; 32]) -> bool {
        !self.config.admin_key.is_empty() && same_secret(hash, &self.admin_hash)
    }

    /// Whether the admin key is so short that somebody who tries for long enough may find it.
    pub(crate) fn admin_can_be_guessed(&self) -> bool {
        self.config.admin_key.len() < UNGUESSABLE
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("max_connections", &self.config.max_connections)
            .finish_non_exhaustive()
    }
}

/// All routes of the contract, observed (request ids, metrics, access log, timeouts), ready to be
/// served.
pub fn router(app: Arc<App>) -> Router {
    let (router, api) = documented();
    let metrics = RequestMetrics::new(api.paths.paths.keys().map(String::as_str));
    let observe = Observe::new(&app, metrics);
    router
        .merge(routes::docs(&api))
        .fallback(|| async { ApiError::RouteNotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(observe)
        .with_state(app)
}

/// The OpenAPI 3.1 document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    documented().1
}

fn documented() -> (Router<Shared>, OpenApi) {
    let (router, mut api) = routes::all().split_for_parts();
    crate::openapi::complete(&mut api);
    (router, api)
}
