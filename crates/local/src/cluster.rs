//! A PostgreSQL installation's nodes together: one plain node, or a Citus coordinator with workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::account::Launcher;
use crate::datadir::{NodeState, State, closed_dir};
use crate::error::{IoContext, LocalError, Result};
use crate::install::Install;
use crate::node::{Node, Spec, Watcher};
use crate::{ports, setup};

pub(crate) const HOST: &str = "127.0.0.1";
pub(crate) const DATABASE: &str = "sheaf";
pub(crate) const USER: &str = "sheaf";
/// The API logs in as this member of `sheaf_api`, which is not the owner.
pub(crate) const API_USER: &str = "sheaf_app";
/// Name of its password among the data directory's secrets.
pub(crate) const API_PASSWORD: &str = "api-database";
/// Children of a killed server hold its shared memory until they notice; a new one refuses to start
/// before.
const LINGER: Duration = Duration::from_secs(15);
const LINGER_POLL: Duration = Duration::from_millis(100);

/// Nodes, the coordinator (or the only node) first.
#[derive(Debug)]
pub(crate) struct Cluster {
    slots: Mutex<Vec<Slot>>,
    /// Counts up whenever a server ends.
    ended: watch::Sender<u64>,
    how: How,
    /// One start, stop or kill by hand at a time.
    by_hand: tokio::sync::Mutex<()>,
}

/// A node's place. It is empty while the node is down because somebody asked for that.
#[derive(Debug)]
struct Slot {
    spec: Spec,
    node: Option<Node>,
}

impl Slot {
    fn running(node: Node) -> Self {
        Self {
            spec: node.watcher().spec.clone(),
            node: Some(node),
        }
    }
}

/// How nodes are made and started.
#[derive(Debug)]
struct How {
    data_dir: PathBuf,
    install: Install,
    launcher: Launcher,
    settings: Vec<String>,
    passfile: PathBuf,
    password: String,
    citus: bool,
}

impl Cluster {
    /// Starts every node of `state` below `data_dir`, making those that are not there yet, and
    /// brings them together.
    pub(crate) async fn start(data_dir: &Path, state: &State, install: &Install) -> Result<Self> {
        let how = How::prepare(data_dir, state, install)?;
        let specs: Vec<Spec> = specs(data_dir, state);
        how.init(&specs).await?;
        let cluster = Self {
            slots: Mutex::new(Vec::with_capacity(specs.len())),
            ended: watch::Sender::new(0),
            how,
            by_hand: tokio::sync::Mutex::new(()),
        };
        let mut watchers = Vec::with_capacity(specs.len());
        for spec in &specs {
            let node = cluster.launch(spec).await?;
            watchers.push(node.watcher().clone());
            cluster.slots().push(Slot::running(node));
        }
        for watcher in &watchers {
            cluster.set_up(watcher).await?;
        }
        if let Some((coordinator, workers)) = specs.split_first()
            && state.citus
            && !state.introduced
        {
            setup::introduce(coordinator, workers, &cluster.how.password).await?;
        }
        if let Some(first) = specs.first() {
            setup::api_login(first, &cluster.how.password, api_password(state)).await?;
        }
        Ok(cluster)
    }

    /// Stops what an earlier run left running below `data_dir`.
    pub(crate) async fn stop_orphans(data_dir: &Path, state: &State) -> Result<()> {
        for spec in specs(data_dir, state) {
            spec.stop_orphan().await?;
        }
        Ok(())
    }

    /// Makes and starts one more node, with database and extensions, in no cluster yet.
    pub(crate) async fn add(&self, state: &NodeState) -> Result<()> {
        let _one_at_a_time = self.by_hand.lock().await;
        let spec = spec(&self.how.data_dir, state);
        self.how.init(std::slice::from_ref(&spec)).await?;
        let node = self.launch(&spec).await?;
        self.set_up(node.watcher()).await?;
        self.slots().push(Slot::running(node));
        Ok(())
    }

    /// Kills a node as `kill -9` on its parent process does. Nothing happens if it is down.
    pub(crate) async fn kill(&self, index: usize) -> Result<()> {
        let _one_at_a_time = self.by_hand.lock().await;
        match self.take(index)? {
            Some(node) => node.kill().await,
            None => Ok(()),
        }
    }

    /// Stops one node in an orderly way. Nothing happens if it is down.
    pub(crate) async fn stop_node(&self, index: usize) -> Result<()> {
        let _one_at_a_time = self.by_hand.lock().await;
        match self.take(index)? {
            Some(node) => node.stop().await,
            None => Ok(()),
        }
    }

    /// Starts a node that was stopped or killed, and waits until it answers. Nothing happens if it
    /// runs.
    pub(crate) async fn start_node(&self, index: usize) -> Result<()> {
        let _one_at_a_time = self.by_hand.lock().await;
        let spec = {
            let mut slots = self.slots();
            let slot = slot(&mut slots, index)?;
            if slot.node.is_some() {
                return Ok(());
            }
            slot.spec.clone()
        };
        let deadline = Instant::now() + LINGER;
        let node = loop {
            let node = self.launch(&spec).await?;
            match setup::ready(node.watcher(), &self.how.password).await {
                Ok(_) => break node,
                Err(LocalError::Node { tail, .. })
                    if tail.contains("shared memory block") && Instant::now() < deadline =>
                {
                    tokio::time::sleep(LINGER_POLL).await;
                }
                Err(error) => return Err(error),
            }
        };
        slot(&mut self.slots(), index)?.node = Some(node);
        Ok(())
    }

    /// Resolves when a node ends that nobody stopped or killed through us.
    pub(crate) async fn failed(&self) -> LocalError {
        let mut ended = self.ended.subscribe();
        loop {
            let error = self
                .slots()
                .iter()
                .find_map(|slot| slot.node.as_ref()?.watcher().ended());
            if let Some(error) = error {
                return error;
            }
            // The sender lives as long as we do.
            let _ = ended.changed().await;
        }
    }

    /// Stops the coordinator first, so that it does not miss its workers.
    pub(crate) async fn stop(self) -> Result<()> {
        let slots = self
            .slots
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for node in slots.into_iter().filter_map(|slot| slot.node) {
            result = result.and(node.stop().await);
        }
        result
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a node out of supervision.
    fn take(&self, index: usize) -> Result<Option<Node>> {
        Ok(slot(&mut self.slots(), index)?.node.take())
    }

    async fn launch(&self, spec: &Spec) -> Result<Node> {
        spec.stop_orphan().await?;
        ports::check_free(spec.port, &format!("PostgreSQL node {}", spec.name))?;
        let How {
            install,
            launcher,
            settings,
            passfile,
            ..
        } = &self.how;
        let ended = self.ended.clone();
        spec.clone()
            .start(install, launcher, settings, passfile, ended)
    }

    /// Database and extensions, as soon as the node answers.
    async fn set_up(&self, watcher: &Watcher) -> Result<()> {
        let maintenance = setup::ready(watcher, &self.how.password).await?;
        let extensions = [
            ("citus", self.how.citus),
            ("pg_stat_statements", self.how.install.stat_statements),
        ];
        let wanted: Vec<&str> = extensions
            .into_iter()
            .filter_map(|(name, wanted)| wanted.then_some(name))
            .collect();
        setup::database(&maintenance, &watcher.spec, &self.how.password, &wanted).await
    }
}

impl How {
    fn prepare(data_dir: &Path, state: &State, install: &Install) -> Result<Self> {
        let pg = data_dir.join("pg");
        let launcher = Launcher::prepare(&pg)?;
        let log = data_dir.join("log");
        closed_dir(&log)?;
        let passfile = pg.join("passfile");
        let password = state.password.clone();
        // Nodes log in to one another as whoever asks them.
        let api_password = api_password(state);
        let logins =
            format!("{HOST}:*:*:{USER}:{password}\n{HOST}:*:*:{API_USER}:{api_password}\n");
        launcher.write_secret(&passfile, &logins)?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            install: install.clone(),
            launcher,
            settings: settings(state, install),
            passfile,
            password,
            citus: state.citus,
        })
    }

    /// Makes the nodes' data directories, where they are not there yet.
    async fn init(&self, specs: &[Spec]) -> Result<()> {
        let first_password = self.data_dir.join("pg").join("initdb-password");
        self.launcher
            .write_secret(&first_password, &self.password)?;
        let made = init_all(specs, &self.install, &self.launcher, &first_password).await;
        fs::remove_file(&first_password).at("remove", &first_password)?;
        made
    }
}

fn slot(slots: &mut [Slot], index: usize) -> Result<&mut Slot> {
    let nodes = slots.len();
    slots
        .get_mut(index)
        .ok_or(LocalError::NoSuchNode { index, nodes })
}

/// The `postgres://` URL of a node.
pub(crate) fn url(state: &State, node: &NodeState) -> String {
    let (password, port) = (&state.password, node.port);
    format!("postgres://{USER}:{password}@{HOST}:{port}/{DATABASE}")
}

/// The same for the API.
pub(crate) fn api_url(state: &State, node: &NodeState) -> String {
    let (password, port) = (api_password(state), node.port);
    format!("postgres://{API_USER}:{password}@{HOST}:{port}/{DATABASE}")
}

/// [`LocalEnv`](crate::LocalEnv) makes it before it starts the nodes.
fn api_password(state: &State) -> &str {
    state.secrets.get(API_PASSWORD).map_or("", String::as_str)
}

fn specs(data_dir: &Path, state: &State) -> Vec<Spec> {
    state
        .nodes
        .iter()
        .map(|node| spec(data_dir, node))
        .collect()
}

fn spec(data_dir: &Path, NodeState { name, port }: &NodeState) -> Spec {
    Spec {
        name: name.clone(),
        port: *port,
        dir: data_dir.join("pg").join(name),
        log: data_dir.join("log").join(format!("{name}.log")),
    }
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

/// A node's share of an eighth of the machine's memory, which is not the nodes' own: PostgreSQL's
/// manual has a quarter for one that is
/// (<https://www.postgresql.org/docs/15/runtime-config-resource.html>). 128 to 1,024 MB; where the
/// system does not tell, the least.
fn shared_buffers_mb(nodes: usize) -> usize {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = told.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        kib.parse::<usize>().ok()
    });
    (kib.unwrap_or(0) / 1024 / 8 / nodes.max(1)).clamp(128, 1_024)
}

/// Settings for a developer's machine. Durability stays on: what is measured here must mean
/// something.
fn settings(state: &State, install: &Install) -> Vec<String> {
    let mut libraries = Vec::new();
    let mut settings: Vec<String> = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "max_wal_size=2GB",
        "checkpoint_timeout=15min",
        // While tables are young, each grows by its tenth within a minute, and all nodes share this
        // machine's cores. To sample and sort 30,000 rows of 33 columns is CPU that the delay does
        // not slow down, by three workers a node at once
        // (docs/decisions/0010-index-of-metadata.md). No plan here depends on a tenth, or on 30,000
        // rows.
        "autovacuum_vacuum_cost_delay=20ms",
        "autovacuum_analyze_scale_factor=0.5",
        "autovacuum_max_workers=1",
        "default_statistics_target=20",
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
    let buffers = shared_buffers_mb(state.nodes.len());
    settings.push(format!("shared_buffers={buffers}MB"));
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
                // `sheaf cluster status` shows who loads the cluster.
                "citus.stat_tenants_track=all",
                // A rebalance begins at once, not after five seconds.
                "citus.background_task_queue_interval=1s",
            ]
            .map(str::to_owned),
        );
    }
    // Newer minor versions load only decoders that are named, and a shard is split by Citus' own.
    if state.citus && install.has_setting("output_plugin_libraries") {
        settings.push("output_plugin_libraries=pgoutput,test_decoding,citus".to_owned());
    }
    if install.stat_statements {
        libraries.push("pg_stat_statements");
    }
    settings.push(format!("shared_preload_libraries={}", libraries.join(",")));
    settings
}
