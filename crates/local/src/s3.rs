//! A local S3 in this process: s3s-fs behind a hyper server on 127.0.0.1.

mod stats;
mod store;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::stats::{OperationStats, RequestRecord, S3Stats};
use self::store::Store;
use crate::error::{IoContext, LocalError, Result};

/// The only region that a local S3 is in.
pub const REGION: &str = "us-east-1";

/// Connections served at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1_024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests in flight get this long when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A running local S3 with one bucket. Dropping it stops accepting at once.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    access_key: String,
    secret_key: String,
    bucket: String,
    stats: Arc<S3Stats>,
    stopper: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl S3Server {
    /// Serves the objects below `root` (made if missing) on 127.0.0.1; `port` 0 takes any free one.
    /// The bucket is made if it is not there.
    ///
    /// # Errors
    /// [`LocalError::PortTaken`], or the reason why the directory cannot be used.
    pub async fn start(
        root: PathBuf,
        port: u16,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        bucket: impl Into<String>,
    ) -> Result<Self> {
        let (access_key, secret_key, bucket) =
            (access_key.into(), secret_key.into(), bucket.into());
        if !s3s::path::check_bucket_name(&bucket) {
            return Err(LocalError::S3(format!("`{bucket}` is not a bucket name")));
        }
        let bucket_dir = root.join(&bucket);
        tokio::fs::create_dir_all(&bucket_dir)
            .await
            .at("create", &bucket_dir)?;
        let stats = Arc::new(S3Stats::default());
        let service = service(&root, &access_key, &secret_key, &stats)?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => LocalError::PortTaken {
                    port,
                    user: "the local S3".to_owned(),
                },
                _ => LocalError::S3(error.to_string()),
            })?;
        let port = listener
            .local_addr()
            .map_err(|error| LocalError::S3(error.to_string()))?
            .port();
        let (stopper, stop) = watch::channel(false);
        let task = tokio::spawn(serve(listener, service, stop));
        Ok(Self {
            port,
            access_key,
            secret_key,
            bucket,
            stats,
            stopper,
            task,
        })
    }

    /// The URL to configure as S3 endpoint (path-style addressing).
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// The access key id.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret access key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Counts requests, and lets tests slow or break them.
    #[must_use]
    pub fn stats(&self) -> &Arc<S3Stats> {
        &self.stats
    }

    /// Stops accepting, and waits up to ten seconds for requests in flight.
    pub async fn stop(mut self) {
        self.stopper.send_replace(true);
        // A panic of the task has been reported by the runtime already; there is nothing left to
        // stop.
        let _ = (&mut self.task).await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn service(
    root: &Path,
    access_key: &str,
    secret_key: &str,
    stats: &Arc<S3Stats>,
) -> Result<S3Service> {
    let store = Store::new(root, Arc::clone(stats)).map_err(LocalError::S3)?;
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    // Clients are on this machine; one whose clock was set to another day, as tests do, has no
    // second S3 to go to.
    let mut config = S3Config::default();
    config.presigned_url_max_skew_time_secs = u32::MAX;
    let config = StaticConfigProvider::new(Arc::new(config));
    builder.set_config(Arc::new(config));
    Ok(builder.build())
}

async fn serve(listener: TcpListener, service: S3Service, mut stop: watch::Receiver<bool>) {
    let mut http = ConnectionBuilder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => match accepted {
                Some(connection) => connection,
                None => continue,
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        // Bodies are written in small pieces; waiting for acknowledgements would cost 40 ms a
        // request.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "S3 connection lost before its first request");
            continue;
        }
        let connection = http
            .serve_connection(TokioIo::new(stream), service.clone())
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "S3 connection ended");
            }
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "S3 requests were still running after {} s; dropped",
            DRAIN.as_secs()
        );
    }
}

/// The next connection and its slot; `None` after an accept error, which concerns one connection
/// only.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "the local S3 could not accept a connection");
            // Out of file descriptors: give the others time to return some.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
