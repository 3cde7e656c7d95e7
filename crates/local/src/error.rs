//! What can go wrong locally, one sentence each.

use std::path::{Path, PathBuf};

use crate::install::CITUS_INSTALLATION;

/// An error of this crate. Its `Display` is one sentence for a person at a terminal, in one case
/// with the last lines of a node's log below it.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No usable PostgreSQL binaries.
    #[error(
        "no PostgreSQL 15 or newer was found in PATH, by `pg_config --bindir`, or in \
        /usr/lib/postgresql/*: \
         install the server package (deploy/install-postgres.sh does)"
    )]
    PostgresMissing,
    /// The data directory was made by another major version than those installed.
    #[error("{} was made by PostgreSQL {made_by}, which is not installed any more: install it, or \
        use another --data-dir", dir.display())]
    PostgresVersion {
        /// The data directory.
        dir: PathBuf,
        /// Major version that made it.
        made_by: u32,
    },
    /// Citus is required, but not installed.
    #[error("the Citus extension is not installed in the PostgreSQL of {}: {} says how to",
        bindir.display(), CITUS_INSTALLATION)]
    CitusMissing {
        /// Where the binaries are.
        bindir: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} is not empty and was not made by sheaf; nothing was touched: choose another \
        --data-dir", dir.display())]
    ForeignDataDir {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process runs in the directory.
    #[error("{} is in use by another running sheaf: stop that one first, or choose another \
        --data-dir", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The lock vanished while we were running.
    #[error("{} was removed or replaced while sheaf was running in it: stopping", path.display())]
    LockLost {
        /// The lock file.
        path: PathBuf,
    },
    /// The marker file cannot be understood.
    #[error("{} cannot be read ({reason}): restore it, or start over with --reset", path.display())]
    BadState {
        /// The marker file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A second start asked for another number of workers.
    #[error(
        "{} has {have}, not {wanted}: leave out --workers, or start over with --reset",
            dir.display()
    )]
    Topology {
        /// The data directory.
        dir: PathBuf,
        /// What it has.
        have: String,
        /// What was asked for.
        wanted: String,
    },
    /// More workers than one machine can host.
    #[error("{wanted} workers are too many for one machine: at most {most}")]
    TooManyWorkers {
        /// What was asked for.
        wanted: usize,
        /// The limit.
        most: usize,
    },
    /// A worker for what is no cluster.
    #[error("{} is one plain node: workers need a Citus cluster, decided at its first start",
        dir.display())]
    PlainNode {
        /// The data directory.
        dir: PathBuf,
    },
    /// No node of this number.
    #[error("there is no node {index}: the environment has {nodes}")]
    NoSuchNode {
        /// What was asked for.
        index: usize,
        /// How many there are.
        nodes: usize,
    },
    /// A port is in use by somebody else.
    #[error(
        "port {port} on 127.0.0.1, which {user} needs, is taken by another program: stop that \
        program first"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// What needs it.
        user: String,
    },
    /// No free port left in our range.
    #[error("no free port found between 20000 and 31999 on 127.0.0.1")]
    NoFreePort,
    /// Running as root without an account for the server.
    #[error(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is in /etc/passwd: \
        run as another user"
    )]
    NoAccount,
    /// The unprivileged account cannot get at the data directory.
    #[error(
        "user {account}, whom PostgreSQL runs as, cannot reach {}, and setpriv cannot grant it \
        access: \
         choose a --data-dir that all users can reach, such as /var/tmp/sheaf", dir.display()
    )]
    Unreachable {
        /// The account.
        account: String,
        /// The directory.
        dir: PathBuf,
    },
    /// A program could not be run, or failed.
    #[error("{program} failed: {detail}")]
    Program {
        /// The program.
        program: String,
        /// Its last words.
        detail: String,
    },
    /// A node stopped, or did not come up.
    #[error("PostgreSQL node {node} {what}; the end of {}:\n{tail}", log.display())]
    Node {
        /// The node's name.
        node: String,
        /// What happened.
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A set-up statement was refused.
    #[error("setting up PostgreSQL node {node} failed ({step}): {detail}")]
    Setup {
        /// The node's name.
        node: String,
        /// Which step.
        step: &'static str,
        /// PostgreSQL's answer.
        detail: String,
    },
    /// The local S3 cannot run.
    #[error("the local S3 cannot run: {0}")]
    S3(String),
    /// A file or directory operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Result with [`LocalError`].
pub type Result<T> = std::result::Result<T, LocalError>;

/// Names the action and the path in an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| LocalError::Io {
            action,
            path: path.to_path_buf(),
            source,
        })
    }
}
