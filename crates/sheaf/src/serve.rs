//! `sheaf serve`, and the server inside `sheaf up`.

pub(crate) mod signals;
pub(crate) mod traces;

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use sheaf_api::{ApiConfig, App};
use sheaf_archive::{Archive, ExportLimits, QueryLimits, S3Config};
use sheaf_store::{Store, StoreConfig};
use sheaf_web::{Clock, Metrics};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::doctor::{CLOCK_FAIL, CLOCK_WARN};
use crate::error::{Doing, Error, Result};
use crate::serve::signals::Stop;
use crate::settings::ServeSettings;

/// Where metrics are read unless a setting says otherwise: on this machine alone.
pub(crate) const METRICS: &str = "127.0.0.1:9464";

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) store: StoreConfig,
    pub(crate) s3: S3Config,
    pub(crate) api: ApiConfig,
    pub(crate) exports: ExportLimits,
    pub(crate) queries: QueryLimits,
    pub(crate) tiering: Option<Tiering>,
    /// Whole months after which invoices are due for tiering, wherever that runs.
    pub(crate) tier_older_than: u32,
    /// Where metrics are read, if anywhere.
    pub(crate) metrics: Option<TcpListener>,
}

/// Tiering in the same process.
pub(crate) struct Tiering {
    /// How often.
    pub(crate) interval: Duration,
    /// The horizon.
    pub(crate) months: u32,
    /// A store of its own, where the API's may not do what tiering does.
    pub(crate) store: Option<StoreConfig>,
}

/// A server at work.
pub(crate) struct Server {
    store: Store,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    metrics: Option<JoinHandle<()>>,
    tiering: Option<JoinHandle<()>>,
}

impl Server {
    /// Connects to both tiers and starts to serve.
    pub(crate) async fn start(listener: TcpListener, parts: Parts) -> Result<Self> {
        if !sheaf_api::NOT_BUILT.is_empty() {
            let missing = sheaf_api::NOT_BUILT.join(", ");
            tracing::warn!(
                missing,
                "built without parts; their routes answer 501 not_built"
            );
        }
        // First: what is recorded before it is lost.
        let metrics = Metrics::install()
            .map_err(|error| Error::new(format!("cannot start the metrics: {error}")))?;
        let store = Store::connect(parts.store).await?;
        store.watch_platform(parts.tier_older_than);
        tell_clocks(&store).await;
        let archive = Archive::connect(store.clone(), parts.s3.clone())
            .await?
            .with_export_limits(parts.exports)
            .with_query_limits(parts.queries);
        let stop = CancellationToken::new();
        let tiering = match parts.tiering {
            None => None,
            Some(Tiering {
                interval,
                months,
                store,
            }) => {
                let of_owner = match store {
                    None => archive.clone(),
                    Some(config) => {
                        Archive::connect(Store::connect(config).await?, parts.s3).await?
                    }
                };
                Some(
                    of_owner
                        .tiering()
                        .spawn_loop(interval, months, stop.clone()),
                )
            }
        };
        let told = parts.metrics.map(|listener| {
            let shutdown = stop.clone().cancelled_owned();
            tokio::spawn(sheaf_web::serve_metrics(
                listener,
                metrics.clone(),
                shutdown,
            ))
        });
        let app = App::new(store.clone(), &archive, parts.api, metrics, Clock::system());
        let shutdown = stop.clone().cancelled_owned();
        let serving = tokio::spawn(sheaf_api::serve(listener, Arc::new(app), shutdown));
        Ok(Self {
            store,
            stop,
            serving,
            metrics: told,
            tiering,
        })
    }

    /// The hot tier.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Resolves when the server ends by itself, which it should not.
    pub(crate) async fn failed(&mut self) -> Error {
        ended((&mut self.serving).await)
            .err()
            .unwrap_or_else(|| Error::new("the API ended"))
    }

    /// Drains: requests in flight end, the writer's queue is written, a tiering run breaks off
    /// between two steps.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        if let Some(tiering) = self.tiering {
            tiering
                .await
                .map_err(|error| Error::new(format!("the tiering loop failed: {error}")))?;
        }
        let served = ended(self.serving.await);
        if let Some(metrics) = self.metrics {
            metrics
                .await
                .map_err(|error| Error::new(format!("the metrics failed: {error}")))?;
        }
        served
    }
}

/// Tells which nodes' clocks differ from ours: what follows from it is seen in other places, and
/// much later.
async fn tell_clocks(store: &Store) {
    for (node, skew) in store.clock_skews(Utc::now).await {
        let Some(differs) = differs(skew) else {
            continue;
        };
        let skew_ms = skew.num_milliseconds();
        let advice = "let all machines follow a time server";
        if skew_ms.abs() < CLOCK_FAIL {
            tracing::warn!(node, skew_ms, "the database's clock is {differs}: {advice}");
        } else {
            tracing::error!(node, skew_ms, "the database's clock is {differs}: {advice}");
        }
    }
}

/// In words, where it is more than clocks that follow a time server differ.
fn differs(skew: TimeDelta) -> Option<String> {
    if skew.num_milliseconds().abs() < CLOCK_WARN {
        return None;
    }
    let side = if skew < TimeDelta::zero() {
        "behind"
    } else {
        "ahead of"
    };
    let seconds = skew.num_seconds().abs();
    let much = match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    };
    Some(format!("{much} {side} this machine's"))
}

fn ended(outcome: std::result::Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<()> {
    outcome
        .map_err(|error| Error::new(format!("the API failed: {error}")))?
        .doing(|| "serve the API".to_owned())
}

/// Listens, or says in a sentence why not.
pub(crate) async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::new(format!(
                "{address} is taken by another program: stop that one, or choose another port"
            )),
            _ => Error::new(format!("cannot listen on {address}: {error}")),
        })
}

/// Where `GET /metrics` is answered, and its address. Two processes on one machine are started with
/// the same settings: the second takes whatever port is free, and says which.
async fn listen_for_metrics(setting: Option<&str>) -> Result<Option<TcpListener>> {
    match setting {
        Some("off") => Ok(None),
        Some(address) => listen(address).await.map(Some),
        None => match TcpListener::bind(METRICS).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                listen("127.0.0.1:0").await.map(Some)
            }
            Err(error) => Err(Error::new(format!("cannot listen on {METRICS}: {error}"))),
            Ok(listener) => Ok(Some(listener)),
        },
    }
}

/// Serves until asked to stop.
pub(crate) async fn run(settings: &ServeSettings) -> Result<()> {
    let mut stop = Stop::new()?;
    let listener = listen(&settings.listen).await?;
    let address = listener
        .local_addr()
        .doing(|| "find the address".to_owned())?;
    let metrics = listen_for_metrics(settings.metrics_listen.as_deref()).await?;
    let told = metrics.as_ref().map(TcpListener::local_addr).transpose();
    let told = told
        .doing(|| "find the address of the metrics".to_owned())?
        .map_or_else(|| "off".to_owned(), |address| address.to_string());
    let parts = Parts {
        metrics,
        store: settings.store_config(),
        s3: settings.s3.config(),
        api: settings.api_config()?,
        exports: settings.shares.exports(),
        queries: settings.shares.queries(),
        tiering: settings.tiering()?,
        tier_older_than: settings.tier_older_than,
    };
    let mut server = tokio::select! {
        server = Box::pin(Server::start(listener, parts)) => server?,
        () = stop.requested() => return Ok(()),
    };
    tracing::info!(%address, metrics = told, citus = server.store().is_citus(), "serving");
    tokio::select! {
        error = server.failed() => return Err(error),
        () = stop.requested() => {}
    }
    tracing::info!("stopping");
    server.stop().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_is_told_in_words() {
        for (ms, told) in [
            (0, None),
            (-1_999, None),
            (2_000, Some("2 s ahead of this machine's")),
            (-61_500, Some("1 min 1 s behind this machine's")),
            (900_000, Some("15 min ahead of this machine's")),
        ] {
            let told = told.map(str::to_owned);
            assert_eq!(differs(TimeDelta::milliseconds(ms)), told, "{ms}");
        }
    }
}
