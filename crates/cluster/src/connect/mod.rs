//! Connections to PostgreSQL: the one way to a node, whoever asks for it. Pools, migrations,
//! partitions, administration and the cancelling of statements all have the host, the credentials
//! and the encryption of their connection from here.

mod certificate;
mod hosts;
mod stream;
mod tls;
mod trust;
mod url;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, Config, Error};

use self::hosts::{Hosts, Place};
use self::tls::{HandshakeFailed, Mode, Tls};
use crate::error::{Failure, classify, said};
use crate::sql;

/// How long one of several hosts may take to let us in before the next one is asked, unless the URL
/// says.
const HOST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request to cancel may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// A host that is silent for 30 s is asked so often whether it is still there, and so many times.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(10), 3);
/// What the driver has where a URL does not say.
const DRIVERS_IDLE: Duration = Duration::from_hours(2);

/// Host and port of a PostgreSQL node.
pub type NodeAddr = (String, u16);

/// A database as its URL describes it.
#[derive(Clone)]
pub struct Database {
    settings: Config,
    hosts: Arc<Hosts>,
    tls: Tls,
    /// Whether a node that takes no writes is passed over.
    read_write: bool,
}

/// Which node a connection is for.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// Where the URL leads: the coordinator, or the one plain node.
    Url,
    /// A node of the cluster.
    Node(&'a NodeAddr),
}

/// An open connection, and the task that drives it.
pub type Connected = (Client, JoinHandle<()>);

/// Why there is no connection.
#[derive(Debug)]
pub struct Failed {
    /// In words: of several hosts, what each of them said.
    pub reason: String,
    /// What says most.
    error: Error,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            reason: said(&error),
            error,
        }
    }
}

impl From<Failed> for crate::Error {
    fn from(failed: Failed) -> Self {
        match failed.error.code() {
            // A login that is refused stays so.
            Some(_) if classify(&failed.error) == Failure::Fatal => {
                Self::Database(Arc::new(failed.error))
            }
            _ => Self::Unavailable {
                detail: failed.reason,
            },
        }
    }
}

impl Database {
    /// Reads a connection URL. The error does not repeat it: it holds a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url::Parsed {
            config,
            tls,
            read_write,
        } = url::parse(text)?;
        let hosts = Hosts::of(&config)?;
        Ok(Self {
            // Nothing here works on a node that takes no writes; where there is a choice, it is
            // made.
            read_write: read_write || hosts.are_several(),
            settings: config,
            hosts: Arc::new(hosts),
            tls,
        })
    }

    /// What the first host of the URL is called, which stands for all of them.
    pub fn coordinator(&self) -> NodeAddr {
        self.hosts.first()
    }

    /// The host of the URL that let us in last; before that, the first.
    pub fn reached(&self) -> NodeAddr {
        self.hosts.reached()
    }

    /// Each host of the URL as a database of its own, a standby as well.
    pub fn each_host(&self) -> Vec<(NodeAddr, Self)> {
        let of_host = |hosts: Hosts| {
            let database = Self {
                settings: self.settings.clone(),
                tls: self.tls.clone(),
                read_write: false,
                hosts: Arc::new(hosts),
            };
            (database.coordinator(), database)
        };
        self.hosts.each().map(of_host).collect()
    }

    /// Whether a server has to show a certificate that is trusted.
    pub fn verifies(&self) -> bool {
        matches!(self.tls.mode(), Mode::VerifyCa | Mode::VerifyFull) || self.tls.has_roots()
    }

    /// Connects, and lets a task drive the connection. `settings` has what the URL does not say.
    pub async fn connect(&self, to: To<'_>, settings: &Config) -> Result<Connected, Failed> {
        match to {
            // Where one of those stands that the URL names, another one can.
            To::Node(addr) if !self.hosts.have(addr) => {
                self.connect_to(&Place::from(addr), settings).await
            }
            _ => self.connect_to_any(settings).await,
        }
    }

    async fn connect_to_any(&self, settings: &Config) -> Result<Connected, Failed> {
        if !self.hosts.are_several() {
            // Whoever waits has a bound of its own.
            return self.connect_to(&self.hosts.only(), settings).await;
        }
        let patience = self.settings.get_connect_timeout().copied();
        let patience = patience.unwrap_or(HOST_TIMEOUT);
        let mut reasons = Vec::new();
        let mut telling: Option<Error> = None;
        for attempt in self.hosts.attempts() {
            let place = attempt.place();
            let connecting = self.connect_to(place, settings);
            let failed = match tokio::time::timeout(patience, connecting).await {
                Ok(Ok(connected)) => {
                    attempt.reached();
                    return Ok(connected);
                }
                Ok(Err(failed)) => failed,
                Err(_) => Failed {
                    reason: format!("no answer in {} s", patience.as_secs()),
                    error: Error::__private_api_timeout(),
                },
            };
            tracing::debug!(
                %place,
                reason = failed.reason,
                "a host of the database does not let us in"
            );
            reasons.push(format!("{place}: {}", failed.reason));
            // A host that is there says more than one that is not.
            telling = match telling {
                Some(before) if failed.error.code().is_none() => Some(before),
                _ => Some(failed.error),
            };
        }
        Err(Failed {
            reason: format!(
                "no host of the database lets in a session that can write: {}",
                reasons.join("; ")
            ),
            error: telling.unwrap_or_else(Error::__private_api_timeout),
        })
    }

    async fn connect_to(&self, place: &Place, settings: &Config) -> Result<Connected, Failed> {
        let mut config = self.complete(settings);
        config.host(&place.host).port(place.port);
        if let Some(address) = place.address {
            config.hostaddr(address);
        }
        let encrypted = match config.connect(self.tls.clone()).await {
            Ok((client, connection)) => return Ok((client, driven(connection))),
            Err(error) => error,
        };
        if self.tls.mode() != Mode::Prefer || !may_be_without(&encrypted) {
            return Err(encrypted.into());
        }
        config.ssl_mode(SslMode::Disable);
        match config.connect(self.tls.clone()).await {
            Ok((client, connection)) => {
                tracing::debug!(%place, reason = said(&encrypted), "a connection is not encrypted");
                Ok((client, driven(connection)))
            }
            Err(plain) => Err(Failed {
                reason: format!("with TLS: {}; without: {}", said(&encrypted), said(&plain)),
                error: encrypted,
            }),
        }
    }

    /// The settings with the credentials and all else that the URL says.
    fn complete(&self, settings: &Config) -> Config {
        let (url, mut config) = (&self.settings, settings.clone());
        if let Some(user) = url.get_user() {
            config.user(user);
        }
        if let Some(password) = url.get_password() {
            config.password(password);
        }
        if let Some(dbname) = url.get_dbname() {
            config.dbname(dbname);
        }
        if let Some(name) = url.get_application_name() {
            config.application_name(name);
        }
        if let Some(options) = url.get_options() {
            // Ours come last: what we need is what we get.
            let ours = settings.get_options().unwrap_or_default();
            config.options(format!("{options} {ours}"));
        }
        if let Some(timeout) = url.get_connect_timeout() {
            config.connect_timeout(*timeout);
        }
        if let Some(timeout) = url.get_tcp_user_timeout() {
            config.tcp_user_timeout(*timeout);
        }
        if !url.get_keepalives() {
            config.keepalives(false);
        }
        if url.get_keepalives_idle() != DRIVERS_IDLE {
            config.keepalives_idle(url.get_keepalives_idle());
        }
        let (interval, retries) = KEEPALIVE;
        let session = match self.read_write {
            true => TargetSessionAttrs::ReadWrite,
            false => TargetSessionAttrs::Any,
        };
        config
            .keepalives_interval(url.get_keepalives_interval().unwrap_or(interval))
            .keepalives_retries(url.get_keepalives_retries().unwrap_or(retries))
            .ssl_mode(url.get_ssl_mode())
            .ssl_negotiation(url.get_ssl_negotiation())
            .channel_binding(url.get_channel_binding())
            .target_session_attrs(session)
            .load_balance_hosts(LoadBalanceHosts::Disable);
        config
    }

    /// Asks the server to stop what a session does, in the way in which the session itself came.
    pub async fn cancel(&self, token: &CancelToken) -> Result<(), Error> {
        let asked = token.cancel_query(self.tls.clone());
        tokio::time::timeout(CANCEL_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(Error::__private_api_timeout()))
    }

    /// The pool's way.
    pub fn pooled(&self, addr: &NodeAddr) -> Pooled {
        Pooled {
            database: self.clone(),
            addr: addr.clone(),
            why: Arc::default(),
        }
    }
}

/// Whether a server that refuses an encrypted connection may take another one: as libpq, where TLS
/// fails, and where `pg_hba.conf` has no line for it.
fn may_be_without(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|cause| cause.is::<HandshakeFailed>())
        || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

fn driven<S, T>(connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = said(&error), "a database connection ended");
        }
    })
}

/// How a pool of connections to one node makes them.
#[derive(Clone)]
pub struct Pooled {
    database: Database,
    addr: NodeAddr,
    /// Why the last one was not made: a pool's errors have no room for it.
    why: Arc<Mutex<Option<String>>>,
}

impl Pooled {
    /// Why the last connection was not made.
    pub fn why(&self) -> Option<String> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }

    /// Whether a connection leads to a host that does not take the writes any more, as far as is
    /// known.
    pub async fn outdated(&self, client: &Client, opened: Instant) -> Result<bool, Error> {
        let hosts = &self.database.hosts;
        if !hosts.are_several() || !hosts.have(&self.addr) {
            return Ok(false);
        }
        hosts.outdated(client, opened).await
    }
}

impl Connect for Pooled {
    fn connect(&self, settings: &Config) -> BoxFuture<'_, Result<Connected, Error>> {
        let settings = settings.clone();
        Box::pin(async move {
            let connected = self.database.connect(To::Node(&self.addr), &settings).await;
            connected.map_err(|failed| {
                let (host, port) = &self.addr;
                let reason = match self.database.hosts.have(&self.addr) {
                    true => failed.reason,
                    false => format!("{host}:{port}: {}", failed.reason),
                };
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                failed.error
            })
        })
    }
}

/// Reads a connection URL.
///
/// # Errors
/// One that cannot be read.
pub fn parse_url(url: &str) -> Result<Database, crate::Error> {
    // The error must not repeat the URL: it holds a password.
    Database::parse(url).map_err(|e| {
        crate::Error::Config(format!(
            "SHEAF_DATABASE_URL is not a PostgreSQL connection URL: {e}"
        ))
    })
}

/// Whether the database has the extension.
///
/// # Errors
/// When the database fails.
pub async fn has_citus(client: &Client) -> Result<bool, Error> {
    let row = client.query_opt(sql::CLUSTER_HAS_CITUS, &[]).await?;
    Ok(row.is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
