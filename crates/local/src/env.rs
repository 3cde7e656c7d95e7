//! Everything that the product needs around it, on one machine: PostgreSQL (with Citus where it is
//! installed) and S3.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cluster::{self, Cluster, HOST};
use crate::datadir::{DataDir, NodeState, S3State, State, closed_dir, random_hex};
use crate::error::{LocalError, Result};
use crate::install::{CITUS_INSTALLATION, Install};
use crate::ports;
use crate::s3::{REGION, S3Server};

const FORMAT: u32 = 1;
const BUCKET: &str = "sheaf";
const DEFAULT_WORKERS: usize = 2;
/// A developer's machine hosts no more; each worker takes memory and connections.
const MAX_WORKERS: usize = 16;

/// Whether to run a Citus cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CitusMode {
    /// Where the extension is installed; else one plain node.
    #[default]
    Auto,
    /// A missing extension is an error.
    Require,
    /// One plain node.
    Off,
}

/// What to start, and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The data directory; made if it is missing.
    pub data_dir: PathBuf,
    /// Citus workers, at most 16; 0 means one plain node. Default: 2, or what the data directory
    /// has.
    pub workers: Option<usize>,
    /// Whether to run a Citus cluster; decided once, at the data directory's first start.
    pub citus: CitusMode,
    /// Port of the local S3. Default: a free one, the same at every start.
    pub s3_port: Option<u16>,
}

/// A worker that was added to a running environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its number for [`LocalEnv::kill_node`] and the like.
    pub index: usize,
    /// Address for `sheaf cluster add-node`.
    pub host: &'static str,
    /// Port for `sheaf cluster add-node`.
    pub port: u16,
    /// `postgres://` URL.
    pub url: String,
}

/// A running local environment. Stop it with [`LocalEnv::stop`]; dropping it stops PostgreSQL
/// without a checkpoint.
#[derive(Debug)]
pub struct LocalEnv {
    state: Mutex<State>,
    urls: Vec<String>,
    api_url: String,
    citus: bool,
    description: String,
    s3: S3Server,
    cluster: Cluster,
    /// One worker is added at a time.
    growing: tokio::sync::Mutex<()>,
    // Last: the lock is given back when all else is gone.
    data_dir: DataDir,
}

impl LocalEnv {
    /// Starts all that `options` asks for, in a new data directory or in one of an earlier start,
    /// whose ports, passwords and topology stay. `reset` empties the directory first, if it is
    /// ours.
    ///
    /// # Errors
    /// Each in one sentence: no PostgreSQL, no Citus though required, a foreign, locked or
    /// differing data directory, a taken port, a node that does not come up.
    pub async fn start(options: &Options, reset: bool) -> Result<Self> {
        let installs = Install::discover()?;
        let data_dir = DataDir::open(&options.data_dir)?;
        if reset {
            if let Ok(Some(old)) = data_dir.state() {
                Cluster::stop_orphans(data_dir.path(), &old).await?;
            }
            data_dir.empty()?;
        }
        let (mut state, install) = match data_dir.state()? {
            Some(state) => known(options, data_dir.path(), state, &installs)?,
            None => fresh(options, &installs)?,
        };
        if !state.secrets.contains_key(cluster::API_PASSWORD) {
            let password = random_hex(24)?;
            state
                .secrets
                .insert(cluster::API_PASSWORD.to_owned(), password);
        }
        data_dir.save(&state)?;
        let s3_root = data_dir.path().join("s3");
        closed_dir(&s3_root)?;
        let S3State {
            port,
            access_key,
            secret_key,
        } = state.s3.clone();
        let s3 = S3Server::start(s3_root, port, access_key, secret_key, BUCKET).await?;
        let cluster = match Cluster::start(data_dir.path(), &state, &install).await {
            Ok(cluster) => cluster,
            Err(error) => {
                // Waits until the port is free again, for the next try.
                s3.stop().await;
                return Err(error);
            }
        };
        if state.citus && !state.introduced {
            state.introduced = true;
            data_dir.save(&state)?;
        }
        Ok(Self {
            urls: state
                .nodes
                .iter()
                .map(|node| cluster::url(&state, node))
                .collect(),
            api_url: state
                .nodes
                .first()
                .map(|node| cluster::api_url(&state, node))
                .unwrap_or_default(),
            citus: state.citus,
            description: describe(&state, &install),
            state: Mutex::new(state),
            s3,
            cluster,
            growing: tokio::sync::Mutex::new(()),
            data_dir,
        })
    }

    /// URL of the database to connect to: the coordinator's, or the only node's.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// The same for the API, which is not the owner: a member of `sheaf_api`, to which `sheaf
    /// migrate` grants.
    #[must_use]
    pub fn api_database_url(&self) -> &str {
        &self.api_url
    }

    /// URLs of the nodes that were there at the start, the coordinator's (or the only node's)
    /// first. A worker that is added later brings its own.
    #[must_use]
    pub fn node_urls(&self) -> &[String] {
        &self.urls
    }

    /// Whether this is a Citus cluster.
    #[must_use]
    pub fn is_citus(&self) -> bool {
        self.citus
    }

    /// Number of Citus workers at the start; 0 for a plain node.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.urls.len().saturating_sub(1)
    }

    /// One line for a person: version, topology, and why there is no Citus if there is none.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// The local S3, with its statistics.
    #[must_use]
    pub fn s3(&self) -> &S3Server {
        &self.s3
    }

    /// URL of the local S3 (path-style addressing).
    #[must_use]
    pub fn s3_endpoint(&self) -> String {
        self.s3.endpoint()
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        self.s3.bucket()
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// S3 access key id.
    #[must_use]
    pub fn access_key(&self) -> &str {
        self.s3.access_key()
    }

    /// S3 secret access key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        self.s3.secret_key()
    }

    /// The data directory's full path.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// A secret of the caller's, such as an admin key: 256 random bits in hexadecimal, made when
    /// first asked for and the same at every later start.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn secret(&self, name: &str) -> Result<String> {
        let mut state = self.state();
        if let Some(secret) = state.secrets.get(name) {
            return Ok(secret.clone());
        }
        let secret = random_hex(32)?;
        state.secrets.insert(name.to_owned(), secret.clone());
        self.data_dir.save(&state)?;
        Ok(secret)
    }

    /// A port of the caller's on 127.0.0.1: free when first asked for, and the same at every later
    /// start.
    ///
    /// # Errors
    /// When none is free, or it cannot be kept.
    pub fn port(&self, name: &str) -> Result<u16> {
        let mut state = self.state();
        if let Some(port) = state.ports.get(name) {
            return Ok(*port);
        }
        let port = ports::pick(1)?.pop().ok_or(LocalError::NoFreePort)?;
        state.ports.insert(name.to_owned(), port);
        self.data_dir.save(&state)?;
        Ok(port)
    }

    /// Starts one more PostgreSQL with the extension, in this data directory: a worker-to-be, which
    /// Citus does not know before `sheaf cluster add-node`. It is there again at every later start.
    ///
    /// # Errors
    /// A plain node, too many workers, or a node that does not come up.
    pub async fn add_worker(&self) -> Result<Worker> {
        let _one_at_a_time = self.growing.lock().await;
        let index = {
            let state = self.state();
            if !state.citus {
                let dir = self.data_dir.path().to_owned();
                return Err(LocalError::PlainNode { dir });
            }
            state.nodes.len()
        };
        if index > MAX_WORKERS {
            return Err(LocalError::TooManyWorkers {
                wanted: index,
                most: MAX_WORKERS,
            });
        }
        let port = ports::pick(1)?.pop().ok_or(LocalError::NoFreePort)?;
        let node = NodeState {
            name: format!("worker-{index}"),
            port,
        };
        self.cluster.add(&node).await?;
        let mut state = self.state();
        let url = cluster::url(&state, &node);
        state.nodes.push(node);
        self.data_dir.save(&state)?;
        Ok(Worker {
            index,
            host: HOST,
            port,
            url,
        })
    }

    /// Kills a node as `kill -9` on its parent process does: 0 is the coordinator (or the only
    /// node), workers follow. That is no failure of the environment. Nothing happens if the node is
    /// down.
    ///
    /// # Errors
    /// No such node.
    pub async fn kill_node(&self, index: usize) -> Result<()> {
        self.cluster.kill(index).await
    }

    /// Stops a node in an orderly way; else as [`LocalEnv::kill_node`].
    ///
    /// # Errors
    /// No such node, or one that does not stop.
    pub async fn stop_node(&self, index: usize) -> Result<()> {
        self.cluster.stop_node(index).await
    }

    /// Starts a node that was stopped or killed, and waits until it answers. Nothing happens if it
    /// runs.
    ///
    /// # Errors
    /// No such node, or one that does not come up.
    pub async fn start_node(&self, index: usize) -> Result<()> {
        self.cluster.start_node(index).await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the environment breaks: a node ended that nobody stopped or killed through
    /// this value, or the data directory was removed or replaced.
    pub async fn failed(&self) -> LocalError {
        tokio::select! {
            error = self.cluster.failed() => error,
            error = self.data_dir.lost() => error,
        }
    }

    /// Stops S3 and all nodes and waits for them; then gives the data directory back.
    ///
    /// # Errors
    /// A node that does not stop, even when killed.
    pub async fn stop(self) -> Result<()> {
        self.s3.stop().await;
        self.cluster.stop().await
    }
}

/// Decides the topology of a new data directory.
fn fresh(options: &Options, installs: &[Install]) -> Result<(State, Install)> {
    let wanted = options.workers.unwrap_or(DEFAULT_WORKERS);
    if wanted > MAX_WORKERS {
        return Err(LocalError::TooManyWorkers {
            wanted,
            most: MAX_WORKERS,
        });
    }
    let with_citus = installs.iter().find(|install| install.citus);
    let first = installs.first().ok_or(LocalError::PostgresMissing)?;
    let (install, workers) = match (options.citus, with_citus) {
        (CitusMode::Require, None) => {
            return Err(LocalError::CitusMissing {
                bindir: first.bindir.clone(),
            });
        }
        (CitusMode::Auto | CitusMode::Require, Some(install)) if wanted > 0 => (install, wanted),
        _ => (first, 0),
    };
    let mut names = vec![if workers == 0 { "node" } else { "coordinator" }.to_owned()];
    names.extend((1..=workers).map(|number| format!("worker-{number}")));
    let mut picked = ports::pick(names.len() + 1)?.into_iter();
    let mut port = || picked.next().ok_or(LocalError::NoFreePort);
    let s3_port = port()?;
    let mut nodes = Vec::with_capacity(names.len());
    for name in names {
        nodes.push(NodeState {
            name,
            port: port()?,
        });
    }
    let state = State {
        sheaf_data_dir: FORMAT,
        citus: workers > 0,
        postgres: install.major,
        nodes,
        introduced: false,
        password: random_hex(24)?,
        s3: S3State {
            port: options.s3_port.unwrap_or(s3_port),
            access_key: format!("AKIA{}", random_hex(8)?.to_uppercase()),
            secret_key: random_hex(20)?,
        },
        secrets: std::collections::BTreeMap::new(),
        ports: std::collections::BTreeMap::new(),
    };
    Ok((state, install.clone()))
}

/// Takes a data directory as it is, unless the options contradict it.
fn known(
    options: &Options,
    dir: &Path,
    mut state: State,
    installs: &[Install],
) -> Result<(State, Install)> {
    if state.sheaf_data_dir > FORMAT {
        let reason = "it was written by a newer sheaf".to_owned();
        return Err(LocalError::BadState {
            path: dir.join("sheaf.json"),
            reason,
        });
    }
    let have = state.nodes.len().saturating_sub(1);
    let wanted = match options.citus {
        CitusMode::Off => Some(0),
        CitusMode::Auto => options.workers,
        CitusMode::Require => options.workers.or(Some(have.max(1))),
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != have) {
        return Err(LocalError::Topology {
            dir: dir.into(),
            have: topology(have),
            wanted: topology(wanted),
        });
    }
    let same_version = || {
        installs
            .iter()
            .filter(|install| install.major == state.postgres)
    };
    let Some(first) = same_version().next() else {
        return Err(LocalError::PostgresVersion {
            dir: dir.into(),
            made_by: state.postgres,
        });
    };
    let install = if state.citus {
        same_version().find(|install| install.citus)
    } else {
        Some(first)
    };
    let install = install
        .ok_or_else(|| LocalError::CitusMissing {
            bindir: first.bindir.clone(),
        })?
        .clone();
    if let Some(port) = options.s3_port {
        state.s3.port = port;
    }
    Ok((state, install))
}

fn topology(workers: usize) -> String {
    match workers {
        0 => "one plain node".to_owned(),
        1 => "a coordinator and 1 worker".to_owned(),
        more => format!("a coordinator and {more} workers"),
    }
}

fn describe(state: &State, install: &Install) -> String {
    let workers = state.nodes.len().saturating_sub(1);
    match (state.citus, install.citus) {
        (true, _) => format!(
            "PostgreSQL {} with Citus, {}",
            state.postgres,
            topology(workers)
        ),
        (false, true) => format!(
            "PostgreSQL {} without Citus, one plain node as asked",
            state.postgres
        ),
        (false, false) => {
            format!(
                "PostgreSQL {}, one plain node: the Citus extension is not installed; \
                {CITUS_INSTALLATION} says how to",
                state.postgres
            )
        }
    }
}

#[cfg(test)]
mod tests;
