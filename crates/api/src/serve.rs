//! The accept loop: HTTP/1.1 on hyper, a bounded number of connections, and a shutdown that drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use sheaf_store::supervised;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::auth::guesses::Peer;
use crate::config::ApiConfig;
use crate::observe::metrics::Metrics;
use crate::routes;
use crate::state::{App, router};

/// After an accept that failed for want of a file handle or memory: one that is tried at once fails
/// again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for the last denials to be written at the end.
const LAST_DENIALS: Duration = Duration::from_secs(5);
/// Connections of those who read metrics: a few scrapers.
const METRICS_CONNECTIONS: usize = 16;
/// Time for them to ask, and for a last answer to go out.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `app` on `listener` until `shutdown` resolves. Then it stops accepting, lets the requests
/// in flight end (at most [`ApiConfig::shutdown_grace`](crate::ApiConfig::shutdown_grace)), and
/// closes the store, which drains its writer.
///
/// # Errors
/// A JWK set in a file that cannot be read. Connections that break are the client's affair.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let background = Background::start(&app).await?;
    let ApiConfig {
        header_timeout,
        max_connections,
        shutdown_grace,
        ..
    } = app.config;
    let open = metrics::gauge!("sheaf_http_connections");
    let server = Server::new(router(Arc::clone(&app)), header_timeout, max_connections);
    server
        .until(listener, shutdown, shutdown_grace, Some(open))
        .await;
    background.stop().await;
    app.store.close().await;
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
    let router = routes::metrics(metrics);
    Server::new(router, METRICS_TIMEOUT, METRICS_CONNECTIONS)
        .until(listener, shutdown, METRICS_TIMEOUT, None)
        .await;
}

/// What runs beside the requests.
struct Background {
    timers: JoinSet<()>,
    denials: JoinHandle<()>,
    stop: CancellationToken,
}

impl Background {
    async fn start(app: &Arc<App>) -> std::io::Result<Self> {
        let mut timers = JoinSet::new();
        let metrics = app.metrics.clone();
        timers.spawn(supervised("metrics", move || {
            let metrics = metrics.clone();
            async move { metrics.upkeep().await }
        }));
        if let Some(jwt) = &app.jwt {
            jwt.load().await.map_err(std::io::Error::other)?;
            let app = Arc::clone(app);
            timers.spawn(supervised("jwks", move || {
                let app = Arc::clone(&app);
                async move {
                    if let Some(jwt) = &app.jwt {
                        jwt.keep_fresh().await;
                    }
                }
            }));
        }
        let stop = CancellationToken::new();
        let (of_app, stopped) = (Arc::clone(app), stop.clone());
        let denials = tokio::spawn(supervised("denials", move || {
            let (app, stopped) = (Arc::clone(&of_app), stopped.clone());
            async move { app.denials.run(&app.store, stopped).await }
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

struct Server {
    router: Router,
    http: http1::Builder,
    permits: Arc<Semaphore>,
}

impl Server {
    fn new(router: Router, header_timeout: Duration, max_connections: usize) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .keep_alive(true);
        Self {
            router,
            http,
            permits: Arc::new(Semaphore::new(max_connections)),
        }
    }

    /// Accepts until `shutdown` resolves, then lets requests end, within `grace`. `open` counts
    /// connections.
    async fn until(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
        open: Option<metrics::Gauge>,
    ) {
        let mut connections = JoinSet::new();
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        loop {
            let (stream, peer, permit) = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                () = &mut shutdown => break,
            };
            let open = Open::enter(open.clone(), permit);
            self.start((stream, peer), open, &graceful, &mut connections);
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        if tokio::time::timeout(grace, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "requests did not end within the grace period"
            );
        }
        connections.shutdown().await;
    }

    /// The next connection, once there is room for it.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed; if it were, waiting is all that is left to do.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(
        &self,
        (stream, peer): (TcpStream, SocketAddr),
        open: Open,
        graceful: &GracefulShutdown,
        to: &mut JoinSet<()>,
    ) {
        // Answers are one small write each: waiting for more to send would only add latency.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            // A router is always ready; `call` on a clone (one reference count) needs no `&mut`
            // across requests.
            router.clone().call(request)
        });
        let connection = graceful.watch(self.http.serve_connection(TokioIo::new(stream), service));
        to.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended early");
            }
            drop(open);
        });
    }
}

/// A connection's place, and its count: both end with it, however it ends.
struct Open {
    gauge: Option<metrics::Gauge>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn enter(gauge: Option<metrics::Gauge>, permit: OwnedSemaphorePermit) -> Self {
        if let Some(gauge) = &gauge {
            gauge.increment(1.0);
        }
        Self {
            gauge,
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.decrement(1.0);
        }
    }
}
