//! `sheaf up`: everything on this machine, in the foreground.

#[cfg(feature = "local")]
pub(crate) mod demo;
#[cfg(feature = "local")]
pub(crate) mod envfile;

use std::convert::Infallible;
use std::path::Path;

use rustix::fs::Mode;
use sheaf_api::ApiConfig;
use sheaf_archive::S3Config;
use sheaf_local::{LocalEnv, Options};
use sheaf_store::StoreConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::UpArgs;
use crate::error::{Doing, Error, Result};
use crate::operate::migrate::DEFAULT_SHARDS;
use crate::serve::signals::Stop;
use crate::serve::{self, Parts, Server};
use crate::terminal::output;
use crate::up::demo::Demo;

/// The log in a terminal: not every request.
pub(crate) const LOG: &str = "info,sheaf::access=warn";

/// The horizon of `sheaf tier run` unless it is told another one.
pub(crate) const OLDER_THAN: u32 = 12;

/// Runs until asked to stop, or until something breaks.
pub(crate) async fn run(args: &UpArgs) -> Result<()> {
    let mut stop = Stop::new()?;
    envfile::remove_stale(&args.data_dir)?;
    // Before all that takes time: a taken port is known at once.
    let listener = serve::listen(&format!("127.0.0.1:{}", args.port)).await?;
    keep_private(&args.data_dir)?;
    let options = Options {
        data_dir: args.data_dir.clone(),
        workers: args.workers,
        ..Options::default()
    };
    let local = tokio::select! {
        local = Box::pin(LocalEnv::start(&options, args.reset)) => local?,
        () = stop.requested() => return Ok(()),
    };
    output::note(local.describe());
    let outcome = Box::pin(run_in(&local, listener, args, &mut stop)).await;
    let removed = match &outcome {
        // The directory is no longer ours.
        Err(Error::Local(sheaf_local::LocalError::LockLost { .. })) => Ok(()),
        _ => envfile::remove(local.data_dir()),
    };
    let stopped = local.stop().await;
    outcome.and(removed).and(stopped.map_err(Error::from))
}

/// Where clients and scrapers find the server.
struct Urls {
    api: String,
    metrics: String,
}

fn url_of(listener: &TcpListener, asked: u16) -> String {
    let port = listener.local_addr().map_or(asked, |at| at.port());
    format!("http://127.0.0.1:{port}")
}

/// Whatever this process and its children make from here on is their user's alone: archived
/// invoices and logs as well. The directories above the data directory are made as usual before,
/// since PostgreSQL's own account has to get through them.
fn keep_private(data_dir: &Path) -> Result<()> {
    let path = std::path::absolute(data_dir).doing(|| "find the data directory".to_owned())?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).doing(|| format!("create {}", parent.display()))?;
    }
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}

async fn run_in(
    local: &LocalEnv,
    listener: TcpListener,
    args: &UpArgs,
    stop: &mut Stop,
) -> Result<()> {
    let admin_key = local.secret("admin-key")?;
    // The same at each start, for those who read it on and on.
    let port = match args.metrics_port {
        Some(port) => port,
        None => local.port("metrics")?,
    };
    let metrics = serve::listen(&format!("127.0.0.1:{port}")).await?;
    let urls = Urls {
        api: url_of(&listener, args.port),
        metrics: format!("{}/metrics", url_of(&metrics, port)),
    };
    let listeners = (listener, metrics);
    let mut server = tokio::select! {
        server = Box::pin(start(local, listeners, &admin_key)) => server?,
        error = local.failed() => return Err(error.into()),
        () = stop.requested() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = Box::pin(announce_and_wait(local, &mut server, &urls, &admin_key)) => outcome,
        error = local.failed() => Err(error.into()),
        never = grow(local) => match never? {},
        () = stop.requested() => Ok(()),
    };
    if outcome.is_ok() {
        output::note("stopping");
    }
    outcome.and(server.stop().await)
}

async fn start(
    local: &LocalEnv,
    (listener, metrics): (TcpListener, TcpListener),
    admin_key: &str,
) -> Result<Server> {
    sheaf_store::migrate(local.database_url(), DEFAULT_SHARDS).await?;
    let parts = Parts {
        store: StoreConfig {
            max_connections_per_node: connections_per_node(),
            ..StoreConfig::new(local.api_database_url())
        },
        s3: S3Config {
            endpoint: Some(local.s3_endpoint()),
            bucket: local.bucket().to_owned(),
            region: local.region().to_owned(),
            credentials: None,
            keeping: sheaf_archive::Keeping::default(),
        }
        .with_key(local.access_key(), local.secret_key()),
        api: ApiConfig::new(admin_key),
        exports: sheaf_archive::ExportLimits::default(),
        queries: sheaf_archive::QueryLimits::default(),
        tiering: None,
        tier_older_than: OLDER_THAN,
        metrics: Some(metrics),
    };
    Server::start(listener, parts).await
}

/// SIGUSR1 starts one more worker, for `sheaf cluster add-node`: growing can be tried on one
/// machine.
async fn grow(local: &LocalEnv) -> Result<Infallible> {
    let mut asked = signal(SignalKind::user_defined1()).doing(|| "listen to signals".to_owned())?;
    loop {
        if asked.recv().await.is_none() {
            return std::future::pending().await;
        }
        match local.add_worker().await {
            Ok(worker) => output::note(&format!(
                "a worker is up; `sheaf cluster add-node {} {}` lets it in, then `sheaf cluster rebalance` gives it shards",
                worker.host, worker.port
            )),
            Err(error) => output::note(&format!("no worker was added: {error}")),
        }
    }
}

/// Says how to reach the server, then waits for it to break.
async fn announce_and_wait(
    local: &LocalEnv,
    server: &mut Server,
    urls: &Urls,
    admin_key: &str,
) -> Result<()> {
    let (store, url) = (server.store().clone(), &urls.api);
    let demo = tokio::select! {
        demo = demo::find_or_create(local.data_dir(), &store, url, admin_key) => demo?,
        error = server.failed() => return Err(error),
    };
    let lines = variables(local, urls, admin_key, &demo);
    envfile::write(local.data_dir(), &lines)?;
    output::line(lines.trim_end())?;
    output::line(&format!(
        "# sheaf is ready at {url}; in another terminal: . {}",
        local.data_dir().join("env").display()
    ))?;
    Err(server.failed().await)
}

fn variables(local: &LocalEnv, urls: &Urls, admin_key: &str, demo: &Demo) -> String {
    envfile::render(&[
        ("SHEAF_URL", &urls.api),
        ("SHEAF_ADMIN_KEY", admin_key),
        ("SHEAF_TENANT_ID", &demo.tenant_id),
        ("SHEAF_API_KEY", &demo.api_key),
        ("SHEAF_DATABASE_URL", local.database_url()),
        ("SHEAF_S3_ENDPOINT", &local.s3_endpoint()),
        ("SHEAF_S3_BUCKET", local.bucket()),
        ("SHEAF_S3_REGION", local.region()),
        ("AWS_ACCESS_KEY_ID", local.access_key()),
        ("AWS_SECRET_ACCESS_KEY", local.secret_key()),
        ("SHEAF_METRICS_URL", &urls.metrics),
        // For signals: nothing else finds this process alone.
        ("SHEAF_UP_PID", &std::process::id().to_string()),
    ])
}

/// All nodes share this machine's cores. A backend that has to be opened and planned for in a burst
/// costs 0.2 s of CPU, which many do not have when they are needed
/// (docs/decisions/0010-index-of-metadata.md). With fewer than 16, two tenants that do everything
/// at once would leave the others one connection for all of their lists.
fn connections_per_node() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (cores * 4).clamp(16, 32)
}
