//! The cluster by hand: what `sheaf cluster` does. Everything goes through the coordinator, by
//! Citus' own functions.
//!
//! Moves and splits use logical replication: writes go on, but for the moment in which the last
//! changes are handed over.

pub mod inspect;

pub mod jobs;
pub mod nodes;
pub mod status;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sheaf_model::TenantId;
use tokio_postgres::{CancelToken, Client, Config};

pub use jobs::{Move, Plan, PlannedMove, Rebalance, TenantPlace};
pub use nodes::AddedNode;
pub use status::{ClusterStatus, Load, NodeStatus, ShardGroup, Skew, TenantLoad};

use crate::connect::{Database, To};
use crate::sql;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an operation on the cluster was not done. Each is one sentence, with Citus' own reason where
/// it gave one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is nothing to administer.
    #[error(
        "this database is one plain PostgreSQL node without Citus: it has no shards to move, and \
         nodes cannot be added"
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

type Result<T> = std::result::Result<T, AdminError>;

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

impl From<(String, u16)> for NodeAddress {
    fn from((host, port): (String, u16)) -> Self {
        Self { host, port }
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

/// A session on the coordinator for work by hand. Statements have no time limit: a move takes as
/// long as it takes.
pub struct ClusterAdmin {
    client: Client,
    database: Database,
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
        let database = Database::parse(database_url).map_err(|error| {
            AdminError::Config(format!(
                "SHEAF_DATABASE_URL is not a PostgreSQL connection URL: {error}"
            ))
        })?;
        let (host, port) = database.coordinator();
        let client = connect(&database, &NodeAddress { host, port }).await?;
        let (host, port) = database.reached();
        let address = NodeAddress { host, port };
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
            database,
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
        Canceller(self.client.cancel_token(), self.database.clone())
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
        connect(&self.database, node).await
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
pub struct Canceller(CancelToken, Database);

impl Canceller {
    /// Asks the server to stop the statement. Returns when it was told; the statement then fails.
    pub fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let (token, database) = (self.0.clone(), self.1.clone());
        async move {
            // A connection that is gone has nothing to cancel.
            let _ = database.cancel(&token).await;
        }
    }
}

async fn connect(database: &Database, node: &NodeAddress) -> Result<Client> {
    let mut settings = Config::new();
    settings
        .application_name("sheaf-admin")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30));
    let unreachable = |reason: String| AdminError::Unreachable {
        node: node.clone(),
        reason,
    };
    let addr = (node.host.clone(), node.port);
    // The driver bounds the connect of the socket only; a server may also accept and then say
    // nothing.
    let connecting = database.connect(To::Node(&addr), &settings);
    let (client, _) = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| unreachable(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())))?
        .map_err(|failed| unreachable(failed.reason))?;
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
pub fn reason(error: &tokio_postgres::Error) -> String {
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
