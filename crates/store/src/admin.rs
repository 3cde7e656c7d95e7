//! The cluster by hand: what `sheaf cluster` does. Everything goes through the coordinator, by Citus' own functions.
//!
//! Moves and splits use logical replication: writes go on, but for the moment in which the last changes are handed over.

mod jobs;
mod nodes;
mod status;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sheaf_model::TenantId;
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Client, Config, NoTls};

pub use jobs::{Move, Plan, PlannedMove, Rebalance, TenantPlace};
pub use nodes::AddedNode;
pub use status::{ClusterStatus, Load, NodeStatus, ShardGroup, Skew, TenantLoad};

use crate::sql;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an operation on the cluster was not done. Each is one sentence, with Citus' own reason where it gave one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is nothing to administer.
    #[error(
        "this database is one plain PostgreSQL node without Citus: it has no shards to move, and nodes cannot be added"
    )]
    NotCitus,
    /// The tables are not there, or are not distributed.
    #[error("the tables are not distributed yet: run `sheaf migrate`")]
    NotDistributed,
    /// A setting that cannot work.
    #[error("{0}")]
    Config(String),
    /// A node does not let us in.
    #[error("cannot connect to {node}: {reason}")]
    Unreachable {
        /// Which node.
        node: NodeAddress,
        /// Why.
        reason: String,
    },
    /// What was asked for would do harm, or is not possible here.
    #[error("{0}")]
    Refused(String),
    /// PostgreSQL or Citus said no.
    #[error("cannot {doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// Their words.
        reason: String,
    },
}

pub(crate) type Result<T> = std::result::Result<T, AdminError>;

/// Host and port of a node, as Citus' catalogs have them. Serialized as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl NodeAddress {
    fn of_columns(host: String, port: i32) -> Result<Self> {
        let port = u16::try_from(port)
            .map_err(|_| AdminError::Config(format!("the catalogs have a node port {port}")))?;
        Ok(Self { host, port })
    }

    fn sql_port(&self) -> i32 {
        i32::from(self.port)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Serialize for NodeAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A session on the coordinator for work by hand. Statements have no time limit: a move takes as long as it takes.
pub struct ClusterAdmin {
    client: Client,
    base: Config,
    address: NodeAddress,
    citus: bool,
}

impl ClusterAdmin {
    /// Connects to the coordinator, or to the one plain node.
    ///
    /// # Errors
    /// A URL that names no host, or an unreachable node.
    pub async fn connect(database_url: &str) -> Result<Self> {
        // The error must not repeat the URL: it holds a password.
        let base: Config = database_url.parse().map_err(|error| {
            AdminError::Config(format!(
                "SHEAF_DATABASE_URL is not a PostgreSQL connection URL: {error}"
            ))
        })?;
        let address = match base.get_hosts().first() {
            Some(Host::Tcp(host)) => NodeAddress {
                host: host.clone(),
                port: base.get_ports().first().copied().unwrap_or(5432),
            },
            _ => {
                return Err(AdminError::Config(
                    "SHEAF_DATABASE_URL must name a host: postgres://user:password@host:port/database".into(),
                ));
            }
        };
        let client = connect(&base, &address).await?;
        let citus = client
            .query_opt(sql::CLUSTER_HAS_CITUS, &[])
            .await
            .map_err(failed("look for Citus"))?
            .is_some();
        if citus {
            client
                .batch_execute(sql::ADMIN_SESSION)
                .await
                .map_err(failed("set up the session"))?;
        }
        Ok(Self {
            client,
            base,
            address,
            citus,
        })
    }

    /// Whether there is a cluster.
    #[must_use]
    pub fn is_citus(&self) -> bool {
        self.citus
    }

    /// Refuses a plain node: nearly all commands need a cluster.
    ///
    /// # Errors
    /// [`AdminError::NotCitus`].
    pub fn require_citus(&self) -> Result<()> {
        if self.citus {
            Ok(())
        } else {
            Err(AdminError::NotCitus)
        }
    }

    /// Ends what this session is doing, such as a move, which is then undone.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.client.cancel_token())
    }

    /// The session's process on the coordinator, which moves are reported under.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self) -> Result<i32> {
        let row = self
            .client
            .query_one(sql::ADMIN_BACKEND_PID, &[])
            .await
            .map_err(failed("read the session"))?;
        Ok(row.get(0))
    }

    /// A connection to another node by the same credentials.
    async fn connect_to(&self, node: &NodeAddress) -> Result<Client> {
        connect(&self.base, node).await
    }

    async fn tenant(&self, tenant: TenantId) -> Result<(String, i32)> {
        let row = self
            .client
            .query_opt(sql::ADMIN_TENANT, &[&tenant.0])
            .await
            .map_err(distributed("look for the tenant"))?;
        let row = row.ok_or_else(|| AdminError::Refused(format!("there is no tenant {tenant}")))?;
        Ok((row.get("name"), row.get("hash")))
    }
}

/// Cancels what a session is doing.
pub struct Canceller(CancelToken);

impl Canceller {
    /// Asks the server to stop the statement. Returns when it was told; the statement then fails.
    pub fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let token = self.0.clone();
        async move {
            // A connection that is gone has nothing to cancel.
            let _ = token.cancel_query(NoTls).await;
        }
    }
}

async fn connect(base: &Config, node: &NodeAddress) -> Result<Client> {
    let mut config = Config::new();
    config
        .host(&node.host)
        .port(node.port)
        .application_name("sheaf-admin")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30));
    if let Some(user) = base.get_user() {
        config.user(user);
    }
    if let Some(password) = base.get_password() {
        config.password(password);
    }
    if let Some(dbname) = base.get_dbname() {
        config.dbname(dbname);
    }
    let unreachable = |reason: String| AdminError::Unreachable {
        node: node.clone(),
        reason,
    };
    // The driver bounds the connect of the socket only; a server may also accept and then say nothing.
    let (client, connection) = tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls))
        .await
        .map_err(|_| unreachable(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())))?
        .map_err(|error| unreachable(reason(&error)))?;
    tokio::spawn(async move {
        // Its errors come out of the client's calls.
        let _ = connection.await;
    });
    Ok(client)
}

/// Names what was being done, and what the server said to it.
fn failed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> AdminError {
    move |error| AdminError::Failed {
        doing,
        reason: reason(&error),
    }
}

/// As [`failed`], where a missing table means that the migration is missing.
fn distributed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> AdminError {
    move |error| match error.code() {
        Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => AdminError::NotDistributed,
        _ => failed(doing)(error),
    }
}

/// The server's own words: message, detail and hint. The driver's are only "db error".
fn reason(error: &tokio_postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let source = std::error::Error::source(error);
        return source.map_or_else(|| error.to_string(), |source| format!("{error} ({source})"));
    };
    let mut text = one_line(said.message());
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(&one_line(more));
    }
    text
}

/// A message of a remote node comes with its severity in front, and may have several lines.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.strip_prefix("ERROR: ") {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeAddress, one_line};

    #[test]
    fn reasons_are_one_line() {
        let text = "ERROR:  no space\nHINT:  make   some";
        assert_eq!(one_line(text), "no space HINT: make some");
    }

    #[test]
    fn addresses_are_as_people_write_them() {
        let address = NodeAddress {
            host: "pg-1".into(),
            port: 5432,
        };
        assert_eq!(serde_json::json!(address), "pg-1:5432");
    }
}
