//! What `sheaf doctor` sees of PostgreSQL: each host of the URL, each node of the cluster, what the
//! login may do. Nothing is changed, and each question has a bound in time, so that a node that
//! hangs costs no more than that.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio_postgres::{Client, Config};

use crate::admin::{NodeAddress, reason};
use crate::connect::{self, Database, To};
use crate::error::Error;
use crate::sql;

/// Settings that are looked at (docs/operations.md).
const SETTINGS: [&str; 16] = [
    "TimeZone",
    "autovacuum_analyze_scale_factor",
    "citus.stat_tenants_track",
    "data_directory",
    "default_statistics_target",
    "max_connections",
    "max_logical_replication_workers",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "output_plugin_libraries",
    "shared_buffers",
    "shared_preload_libraries",
    "ssl",
    "synchronous_commit",
    "wal_level",
];

/// What a database has to have.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its tables.
    pub tables: &'a [&'a str],
    /// Functions that the API calls, with their parameters' types.
    pub functions: &'a [&'a str],
}

/// A question that was not answered: why, in words.
pub type Asked<T> = Result<T, String>;

/// A database that can be asked.
pub struct Inspector {
    database: Database,
    patience: Duration,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// As in 150020.
    pub version_num: i32,
    /// As in 15.20.
    pub version: String,
    /// Whether it takes no writes.
    pub standby: bool,
    /// The version of TLS that the connection has; none where it is not encrypted.
    pub tls: Option<String>,
    /// Whether this side looks at the server's certificate.
    pub verified: bool,
    /// The version of the extension, where the database has it.
    pub citus: Option<String>,
    /// Whether the server has the extension installed.
    pub citus_available: bool,
    /// Settings by name; one that the server does not have, or does not show to this user, is
    /// missing.
    pub settings: BTreeMap<String, Setting>,
    /// By how much its clock is ahead of ours.
    pub skew: TimeDelta,
    /// How long it took to ask for the time: the skew is no more exact than half of it.
    pub round_trip: Duration,
    /// Invoices on the node, as its statistics have them.
    pub invoices: i64,
    /// Free and all bytes of the disk under the data directory, where the node can tell.
    pub disk: Option<(i64, i64)>,
}

/// A setting of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// In the setting's own unit.
    pub value: String,
    /// As people write it.
    pub shown: String,
    /// Whether nobody has set it.
    pub is_default: bool,
}

/// A node as Citus' catalogs have it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is.
    pub node: NodeAddress,
    /// Whether it is the coordinator.
    pub coordinator: bool,
    /// Whether Citus counts on it.
    pub active: bool,
    /// Whether it may hold shards.
    pub should_have_shards: bool,
    /// Whether it has all metadata, so that it answers queries itself.
    pub metadata: bool,
}

/// What a login may do.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Its name.
    pub name: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether the tables are its own; false where there are none.
    pub owner: bool,
    /// Whether there is a role `sheaf_api`.
    pub has_api_role: bool,
    /// Whether it is a member of that.
    pub api_member: bool,
    /// Whether it sees the transactions of others.
    pub sees_activity: bool,
    /// Whether it could change events.
    pub changes_events: bool,
    /// What it lacks of what the API does.
    pub missing: Vec<String>,
}

/// What the database as a whole says.
#[derive(Debug)]
pub struct DatabaseFacts<E> {
    /// Whether this binary fits the schema: its version, or why not.
    pub schema: Result<i32, E>,
    /// The rights of the login of the URL.
    pub rights: Asked<Rights>,
    /// With Citus: its nodes.
    pub members: Asked<Vec<Member>>,
    /// With Citus: tables that it should know, and does not.
    pub undistributed: Asked<Vec<String>>,
    /// With Citus: pairs of nodes of which the first cannot log in to the second.
    pub cannot_connect: Asked<Vec<(NodeAddress, NodeAddress)>>,
}

impl Inspector {
    /// Reads a connection URL. Each question may take `patience`.
    ///
    /// # Errors
    /// A URL that cannot be read, which the error does not repeat.
    pub fn new(database_url: &str, patience: Duration) -> Result<Self, Error> {
        Ok(Self {
            database: connect::parse_url(database_url)?,
            patience,
        })
    }

    /// The hosts of the URL.
    #[must_use]
    pub fn hosts(&self) -> Vec<NodeAddress> {
        let hosts = self.database.each_host();
        hosts.into_iter().map(|(addr, _)| addr.into()).collect()
    }

    /// What a node says: a host of the URL, or a node of the cluster.
    ///
    /// # Errors
    /// It does not let us in, or does not answer.
    pub async fn node(&self, address: &NodeAddress) -> Asked<NodeFacts> {
        let hosts = self.database.each_host();
        let at = (address.host.clone(), address.port);
        let of_url = hosts.into_iter().find(|(host, _)| *host == at);
        let database = of_url.map_or_else(|| self.database.clone(), |(_, database)| database);
        let asked = async {
            let client = self.connect(&database, To::Node(&at)).await?;
            self.facts(&client).await.map_err(|error| reason(&error))
        };
        self.within(asked).await
    }

    /// What the database as a whole says. `schema` judges its version.
    ///
    /// # Errors
    /// No host lets us in.
    pub async fn database<E, F>(
        &self,
        citus: bool,
        expected: Expected<'_>,
        schema: F,
    ) -> Asked<DatabaseFacts<E>>
    where
        E: From<Error>,
        F: for<'c> FnOnce(&'c Client) -> BoxFuture<'c, Result<i32, E>>,
    {
        let client = self.within(self.connect(&self.database, To::Url)).await?;
        let schema = tokio::time::timeout(self.patience, schema(&client)).await;
        let schema = schema.unwrap_or_else(|_| {
            let detail = self.silence();
            Err(Error::Unavailable { detail }.into())
        });
        let mut facts = DatabaseFacts {
            schema,
            rights: self.within(rights(&client, expected)).await,
            members: Ok(Vec::new()),
            undistributed: Ok(Vec::new()),
            cannot_connect: Ok(Vec::new()),
        };
        if citus {
            facts.members = self.within(members(&client)).await;
            facts.undistributed = self.within(undistributed(&client, expected)).await;
            // Last: a node that hangs holds up the session as well.
            facts.cannot_connect = self.within(cannot_connect(&client)).await;
        }
        Ok(facts)
    }

    async fn connect(&self, database: &Database, to: To<'_>) -> Asked<Client> {
        let mut settings = Config::new();
        let ms = self.patience.as_millis();
        settings
            .application_name("sheaf-doctor")
            .connect_timeout(self.patience)
            .options(format!(
                "-c statement_timeout={ms} -c citus.override_table_visibility=off"
            ));
        let connected = database.connect(to, &settings).await;
        connected
            .map(|(client, _)| client)
            .map_err(|failed| failed.reason)
    }

    async fn facts(&self, client: &Client) -> Result<NodeFacts, tokio_postgres::Error> {
        let statement = client.prepare(sql::ADMIN_INSPECT_NODE).await?;
        let (asked, began) = (Utc::now(), Instant::now());
        let row = client.query_one(&statement, &[]).await?;
        let round_trip = began.elapsed();
        let middle = asked + TimeDelta::from_std(round_trip / 2).unwrap_or_default();
        let clock: DateTime<Utc> = row.get("clock");
        let settings = client
            .query(sql::ADMIN_INSPECT_SETTINGS, &[&&SETTINGS[..]])
            .await?;
        let settings = settings.iter().map(|row| {
            let setting = Setting {
                value: row.get("setting"),
                shown: row.get("shown"),
                is_default: row.get("is_default"),
            };
            (row.get("name"), setting)
        });
        let (mut citus, mut disk) = (None, None);
        if row.get("citus") {
            let version = client.query_one(sql::ADMIN_CITUS_VERSION, &[]).await?;
            citus = Some(version.get(0));
            // The function is Citus' own, and not every login may call it.
            let told = client.query_opt(sql::ADMIN_INSPECT_DISK, &[]).await;
            disk = told.ok().flatten().and_then(|row| {
                let (free, total) = (row.get("free"), row.get("total"));
                Option::zip(free, total)
            });
        }
        Ok(NodeFacts {
            version_num: row.get("version_num"),
            version: row.get("version"),
            standby: row.get("standby"),
            tls: row.get("tls"),
            verified: self.database.verifies(),
            citus,
            citus_available: row.get("citus_available"),
            settings: settings.collect(),
            skew: clock - middle,
            round_trip,
            invoices: row.get("invoices"),
            disk,
        })
    }

    async fn within<T>(&self, asked: impl Future<Output = Asked<T>>) -> Asked<T> {
        tokio::time::timeout(self.patience, asked)
            .await
            .unwrap_or_else(|_| Err(self.silence()))
    }

    fn silence(&self) -> String {
        format!("no answer in {} s", self.patience.as_secs_f32())
    }
}

async fn members(client: &Client) -> Asked<Vec<Member>> {
    let rows = client.query(sql::ADMIN_INSPECT_MEMBERS, &[]).await;
    let rows = rows.map_err(|error| reason(&error))?;
    let member = |row: &tokio_postgres::Row| {
        let (host, port): (String, i32) = (row.get("nodename"), row.get("nodeport"));
        Some(Member {
            node: (host, u16::try_from(port).ok()?).into(),
            coordinator: row.get("coordinator"),
            active: row.get("isactive"),
            should_have_shards: row.get("shouldhaveshards"),
            metadata: row.get("metadata"),
        })
    };
    Ok(rows.iter().filter_map(member).collect())
}

async fn undistributed(client: &Client, expected: Expected<'_>) -> Asked<Vec<String>> {
    let row = client
        .query_one(sql::ADMIN_INSPECT_DISTRIBUTED, &[&expected.tables])
        .await;
    Ok(row.map_err(|error| reason(&error))?.get("missing"))
}

async fn cannot_connect(client: &Client) -> Asked<Vec<(NodeAddress, NodeAddress)>> {
    let rows = client.query(sql::ADMIN_NODE_HEALTH, &[]).await;
    let rows = rows.map_err(|error| reason(&error))?;
    let pair = |row: &tokio_postgres::Row| {
        let node = |host: &str, port: &str| {
            let (host, port): (String, i32) = (row.get(host), row.get(port));
            Some(NodeAddress::from((host, u16::try_from(port).ok()?)))
        };
        let from = node("from_nodename", "from_nodeport")?;
        Some((from, node("to_nodename", "to_nodeport")?))
    };
    Ok(rows.iter().filter_map(pair).collect())
}

async fn rights(client: &Client, expected: Expected<'_>) -> Asked<Rights> {
    let row = client
        .query_one(
            sql::ADMIN_INSPECT_RIGHTS,
            &[&expected.tables, &expected.functions],
        )
        .await;
    let row = row.map_err(|error| reason(&error))?;
    Ok(Rights {
        name: row.get("name"),
        superuser: row.get("superuser"),
        owner: row.get("owner"),
        has_api_role: row.get("has_api_role"),
        api_member: row.get("api_member"),
        sees_activity: row.get("sees_activity"),
        changes_events: row.get("changes_events"),
        missing: row.get("missing"),
    })
}
