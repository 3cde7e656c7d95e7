//! A PostgreSQL installation's nodes together: one plain node, or a Citus coordinator with workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::account::Launcher;
use crate::datadir::State;
use crate::error::{IoContext, LocalError, Result};
use crate::install::Install;
use crate::node::{Node, Spec};
use crate::ports;

const HOST: &str = "127.0.0.1";
const DATABASE: &str = "sheaf";
const USER: &str = "sheaf";
/// Crash recovery after a kill may take its time.
const READY: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Running nodes, the coordinator (or the only node) first.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts every node of `state` below `data_dir`, making those that are not there yet, and brings them together.
    pub(crate) async fn start(data_dir: &Path, state: &State, install: &Install) -> Result<Self> {
        let pg = data_dir.join("pg");
        let launcher = Launcher::prepare(&pg)?;
        let log = data_dir.join("log");
        fs::create_dir_all(&log).at("create", &log)?;
        let passfile = pg.join("passfile");
        launcher.write_secret(
            &passfile,
            &format!("{HOST}:*:*:{USER}:{}\n", state.password),
        )?;

        let specs = specs(data_dir, state);
        let first_password = pg.join("initdb-password");
        launcher.write_secret(&first_password, &state.password)?;
        let made = init_all(&specs, install, &launcher, &first_password).await;
        fs::remove_file(&first_password).at("remove", &first_password)?;
        made?;

        let settings = settings(state, install);
        let mut nodes = Vec::with_capacity(specs.len());
        for spec in specs {
            spec.stop_orphan().await?;
            ports::check_free(spec.port, &format!("PostgreSQL node {}", spec.name))?;
            nodes.push(spec.start(install, &launcher, &settings, &passfile)?);
        }
        let cluster = Self { nodes };
        cluster.set_up(state).await?;
        Ok(cluster)
    }

    /// Stops what an earlier run left running below `data_dir`.
    pub(crate) async fn stop_orphans(data_dir: &Path, state: &State) -> Result<()> {
        for spec in specs(data_dir, state) {
            spec.stop_orphan().await?;
        }
        Ok(())
    }

    /// Resolves when a node ends.
    pub(crate) async fn failed(&self) -> LocalError {
        let mut watchers: Vec<_> = self
            .nodes
            .iter()
            .map(|node| Box::pin(node.exited()))
            .collect();
        std::future::poll_fn(move |context| {
            for watcher in &mut watchers {
                if let std::task::Poll::Ready(error) = watcher.as_mut().poll(context) {
                    return std::task::Poll::Ready(error);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Stops the coordinator first, so that it does not miss its workers.
    pub(crate) async fn stop(self) -> Result<()> {
        let mut result = Ok(());
        for node in self.nodes {
            result = result.and(node.stop().await);
        }
        result
    }

    /// Database and extensions on every node, then the nodes' acquaintance. Everything here can run again.
    async fn set_up(&self, state: &State) -> Result<()> {
        for node in &self.nodes {
            let maintenance = ready(node, &state.password).await?;
            let exists = maintenance
                .query_opt("select from pg_database where datname = $1", &[&DATABASE])
                .await
                .map_err(|error| setup_error(node, "look for the database", &error))?;
            if exists.is_none() {
                run(
                    node,
                    &maintenance,
                    "create the database",
                    &format!("create database {DATABASE}"),
                )
                .await?;
            }
            let client = connect(node, DATABASE, &state.password)
                .await
                .map_err(|error| setup_error(node, "connect to the database", &error))?;
            if state.citus {
                run(
                    node,
                    &client,
                    "create the extension",
                    "create extension if not exists citus",
                )
                .await?;
            }
        }
        match self.nodes.split_first() {
            Some((coordinator, workers)) if state.citus => {
                introduce(coordinator, workers, &state.password).await
            }
            _ => Ok(()),
        }
    }
}

/// `postgres://` URLs of all nodes, the coordinator's (or the only node's) first.
pub(crate) fn urls(state: &State) -> Vec<String> {
    let url = |port| {
        format!(
            "postgres://{USER}:{}@{HOST}:{port}/{DATABASE}",
            state.password
        )
    };
    state.nodes.iter().map(|node| url(node.port)).collect()
}

fn specs(data_dir: &Path, state: &State) -> Vec<Spec> {
    let spec = |name: &str, port| Spec {
        name: name.to_owned(),
        port,
        dir: data_dir.join("pg").join(name),
        log: data_dir.join("log").join(format!("{name}.log")),
    };
    state
        .nodes
        .iter()
        .map(|node| spec(&node.name, node.port))
        .collect()
}

/// The nodes' directories are made at the same time: initdb mostly waits for the disk.
async fn init_all(
    specs: &[Spec],
    install: &Install,
    launcher: &Launcher,
    password: &Path,
) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for spec in specs {
        let spec = spec.clone();
        let (install, launcher, password): (_, _, PathBuf) =
            (install.clone(), launcher.clone(), password.into());
        tasks.spawn(async move { spec.init(&install, &launcher, &password).await });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(|error| LocalError::Program {
            program: "initdb".to_owned(),
            detail: error.to_string(),
        })??;
    }
    Ok(())
}

/// Settings for a developer's machine. Durability stays on: what is measured here must mean something.
fn settings(state: &State, install: &Install) -> Vec<String> {
    let mut libraries = Vec::new();
    let mut settings: Vec<String> = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "max_wal_size=2GB",
        "checkpoint_timeout=15min",
        "fsync=on",
        "synchronous_commit=on",
        "jit=off",
        "timezone=UTC",
        "log_timezone=UTC",
        "log_line_prefix=%m [%p] %a ",
        // Year partitions times shards: one statement may lock many tables.
        "max_locks_per_transaction=512",
    ]
    .map(str::to_owned)
    .to_vec();
    let buffers = if state.nodes.len() > 1 {
        "128MB"
    } else {
        "256MB"
    };
    settings.push(format!("shared_buffers={buffers}"));
    if state.citus {
        // Citus must come first in the list.
        libraries.push("citus");
        settings.extend(
            [
                // Shard moves copy by logical replication.
                "wal_level=logical",
                "max_wal_senders=20",
                "max_replication_slots=20",
                "max_logical_replication_workers=16",
                "max_worker_processes=32",
                // All nodes are on this machine and speak over the loopback device.
                "citus.node_conninfo=sslmode=disable",
                // A node's connections to itself look up the password under this name.
                "citus.local_hostname=127.0.0.1",
                "citus.enable_statistics_collection=off",
            ]
            .map(str::to_owned),
        );
    }
    if install.stat_statements {
        libraries.push("pg_stat_statements");
    }
    settings.push(format!("shared_preload_libraries={}", libraries.join(",")));
    settings
}

/// Waits until the node answers; fails as soon as its process ends.
async fn ready(node: &Node, password: &str) -> Result<Client> {
    let deadline = Instant::now() + READY;
    let answers = async {
        loop {
            match connect(node, "postgres", password).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => {
                    return Err(node.not_ready(&explain(&error)));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    };
    tokio::select! {
        client = answers => client,
        error = node.exited() => Err(error),
    }
}

async fn connect(
    node: &Node,
    database: &str,
    password: &str,
) -> std::result::Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(HOST)
        .port(node.spec.port)
        .user(USER)
        .password(password)
        .dbname(database);
    config
        .application_name("sheaf-local")
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = config.connect(NoTls).await?;
    // The connection ends with its client; its errors come out of the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

/// Tells the coordinator its own address and its workers'. Metadata reaches every worker, so that any node answers.
async fn introduce(coordinator: &Node, workers: &[Node], password: &str) -> Result<()> {
    let client = connect(coordinator, DATABASE, password)
        .await
        .map_err(|error| setup_error(coordinator, "connect to the database", &error))?;
    let known = client
        .query("select nodeport from pg_dist_node", &[])
        .await
        .map_err(|error| setup_error(coordinator, "list the nodes", &error))?;
    let known: Vec<i32> = known.iter().map(|row| row.get(0)).collect();
    let own = coordinator.spec.port;
    if !known.contains(&i32::from(own)) {
        let sql = format!("select citus_set_coordinator_host('{HOST}', {own})");
        run(coordinator, &client, "name the coordinator", &sql).await?;
    }
    for worker in workers {
        let port = worker.spec.port;
        if !known.contains(&i32::from(port)) {
            let sql = format!("select citus_add_node('{HOST}', {port})");
            run(coordinator, &client, "add a worker", &sql).await?;
        }
    }
    if !workers.is_empty() {
        let sql =
            format!("select citus_set_node_property('{HOST}', {own}, 'shouldhaveshards', false)");
        run(
            coordinator,
            &client,
            "keep shards off the coordinator",
            &sql,
        )
        .await?;
    }
    Ok(())
}

async fn run(node: &Node, client: &Client, step: &'static str, sql: &str) -> Result<()> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| setup_error(node, step, &error))
}

fn setup_error(node: &Node, step: &'static str, error: &tokio_postgres::Error) -> LocalError {
    LocalError::Setup {
        node: node.spec.name.clone(),
        step,
        detail: explain(error),
    }
}

/// The driver's own text is only "db error"; the reason is in its source.
fn explain(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned())
}
