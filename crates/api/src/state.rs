//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use sheaf_archive::{Archive, InvoiceReader};
use sheaf_store::Store;
use sheaf_web::auth::Authenticator;
use sheaf_web::body::BodyLimits;
use sheaf_web::{Clock, Metrics, Web};

use crate::config::{ApiConfig, BulkConfig};
use crate::render_pool::Desk;
use crate::routes::invoice::upload::quota::Quotas;

/// Handlers take this as their state. A type of our own, so that extractors find their parts in it.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<App>);

impl Deref for Shared {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

impl FromRef<Shared> for Authenticator {
    fn from_ref(app: &Shared) -> Self {
        app.web.auth.clone()
    }
}

impl FromRef<Shared> for BodyLimits {
    fn from_ref(app: &Shared) -> Self {
        app.web.body
    }
}

/// The API's parts. Cheap to make several of in one process; they share nothing but the metrics'
/// recorder.
pub struct App {
    pub(crate) store: Store,
    pub(crate) reader: InvoiceReader,
    pub(crate) archive: Archive,
    pub(crate) web: Web,
    pub(crate) bulk: BulkConfig,
    pub(crate) clock: Clock,
    pub(crate) desk: Desk,
    pub(crate) uploads: Quotas,
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
            web: Web::new(store.clone(), config.web, metrics, clock.clone()),
            desk: Desk::new(config.documents_per_tenant, config.documents),
            uploads: Quotas::new(&config.bulk),
            bulk: config.bulk,
            store,
            clock,
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("web", &self.web)
            .finish_non_exhaustive()
    }
}
