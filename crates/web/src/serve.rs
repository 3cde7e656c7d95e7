//! What the HTTP surfaces of a process share, and serving them: the router on its listener, with
//! what runs beside the requests.

pub(crate) mod config;
mod server;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sheaf_store::{Store, supervised};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::config::Config;
use self::server::Server;
use crate::auth::authenticator::Authenticator;
use crate::body::BodyLimits;
use crate::clock::Clock;
use crate::observe::denials::Denials;
use crate::observe::layer::{Observe, RequestMetrics};
use crate::observe::metrics::Metrics;

/// Time for the last denials to be written at the end.
const LAST_DENIALS: Duration = Duration::from_secs(5);
/// Connections of those who read metrics: a few scrapers.
const METRICS_CONNECTIONS: usize = 16;
/// Time for them to ask, and for a last answer to go out.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);

/// What the HTTP surfaces of a process share. Their states give extractors the parts by `FromRef`.
pub struct Web {
    /// Who calls.
    pub auth: Authenticator,
    /// How large and how slow a body may be.
    pub body: BodyLimits,
    config: Config,
    denials: Arc<Denials>,
    metrics: Metrics,
    store: Store,
}

impl Web {
    /// Puts the parts together.
    #[must_use]
    pub fn new(store: Store, config: Config, metrics: Metrics, clock: Clock) -> Self {
        Self {
            auth: Authenticator::new(store.clone(), &config, clock.clone()),
            body: BodyLimits {
                bytes: config.body_limit,
                timeout: config.body_timeout,
            },
            denials: Arc::new(Denials::new(config.denial_window, clock)),
            config,
            metrics,
            store,
        }
    }

    /// The layer around every route, for these templates of paths.
    pub fn observe<'a>(&self, templates: impl Iterator<Item = &'a str>) -> Observe {
        let metrics = RequestMetrics::new(templates);
        let denials = Arc::clone(&self.denials);
        Observe::new(&self.config, metrics, denials, self.store.clone())
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web")
            .field("max_connections", &self.config.max_connections)
            .finish_non_exhaustive()
    }
}

/// Serves `router` on `listener` until `shutdown` resolves. Then it stops accepting, lets the
/// requests in flight end (at most [`Config::shutdown_grace`]), and closes the store, which drains
/// its writer.
///
/// # Errors
/// A JWK set in a file that cannot be read. Connections that break are the client's affair.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    web: &Web,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let background = Background::start(web).await?;
    let Config {
        header_timeout,
        max_connections,
        shutdown_grace,
        ..
    } = web.config;
    let open = metrics::gauge!("sheaf_http_connections");
    let server = Server::new(router, header_timeout, max_connections);
    server
        .until(listener, shutdown, shutdown_grace, Some(open))
        .await;
    background.stop().await;
    web.store.close().await;
    Ok(())
}

/// Serves `GET /metrics` on `listener`, and nothing else, until `shutdown` resolves. It takes no
/// credential: whoever reaches the listener reads how much there is of everything, so that it
/// belongs on a network of the operator's own.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let router = Router::new()
        .route("/metrics", get(rendered))
        .with_state(metrics);
    Server::new(router, METRICS_TIMEOUT, METRICS_CONNECTIONS)
        .until(listener, shutdown, METRICS_TIMEOUT, None)
        .await;
}

/// Metrics in Prometheus' text format, on a listener of their own: they tell how much business is
/// done.
async fn rendered(State(metrics): State<Metrics>) -> Response {
    (
        [
            (CONTENT_TYPE, "text/plain; version=0.0.4"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        metrics.render(),
    )
        .into_response()
}

/// What runs beside the requests.
struct Background {
    timers: JoinSet<()>,
    denials: JoinHandle<()>,
    stop: CancellationToken,
}

impl Background {
    async fn start(web: &Web) -> std::io::Result<Self> {
        let mut timers = JoinSet::new();
        let metrics = web.metrics.clone();
        timers.spawn(supervised("metrics", move || {
            let metrics = metrics.clone();
            async move { metrics.upkeep().await }
        }));
        if let Some(jwt) = web.auth.jwt() {
            jwt.load().await.map_err(std::io::Error::other)?;
            let auth = web.auth.clone();
            timers.spawn(supervised("jwks", move || {
                let auth = auth.clone();
                async move {
                    if let Some(jwt) = auth.jwt() {
                        jwt.keep_fresh().await;
                    }
                }
            }));
        }
        let stop = CancellationToken::new();
        let (noted, stopped) = (Arc::clone(&web.denials), stop.clone());
        let store = web.store.clone();
        let denials = tokio::spawn(supervised("denials", move || {
            let (noted, stopped) = (Arc::clone(&noted), stopped.clone());
            let store = store.clone();
            async move { noted.run(&store, stopped).await }
        }));
        Ok(Self {
            timers,
            denials,
            stop,
        })
    }

    /// Writes the denials that were noted; the timers have nothing to finish.
    async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_DENIALS, &mut self.denials)
            .await
            .is_err()
        {
            tracing::warn!("the last denials could not be written in time");
            self.denials.abort();
        }
        self.timers.shutdown().await;
    }
}
