//! The accept loop: HTTP/1.1 on hyper, a bounded number of connections, and a shutdown that drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service as _;

use crate::auth::guesses::Peer;

/// After an accept that failed for want of a file handle or memory: one that is tried at once fails
/// again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A router behind a bounded number of connections.
pub(super) struct Server {
    router: Router,
    http: http1::Builder,
    permits: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(router: Router, header_timeout: Duration, max_connections: usize) -> Self {
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
    pub(super) async fn until(
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
