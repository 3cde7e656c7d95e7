//! A local environment for one test or benchmark run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::datadir::DataDir;
use crate::env::{CitusMode, LocalEnv, Options};
use crate::error::{IoContext, Result};

const PREFIX: &str = "sheaf-throwaway-";

/// A [`LocalEnv`] in a temporary directory of its own, which goes with it.
#[derive(Debug)]
pub struct Throwaway {
    // Before the directory: dropped values go in this order, servers first.
    env: LocalEnv,
    dir: TempDir,
}

impl Throwaway {
    /// Starts an environment below the system's temporary directory (`TMPDIR`), with the default
    /// number of workers. Also clears away what killed runs left there.
    ///
    /// # Errors
    /// As [`LocalEnv::start`].
    pub async fn start(citus: CitusMode) -> Result<Self> {
        Self::with_workers(citus, None).await
    }

    /// The same with a number of workers.
    ///
    /// # Errors
    /// As [`LocalEnv::start`].
    pub async fn with_workers(citus: CitusMode, workers: Option<usize>) -> Result<Self> {
        let parent = std::env::temp_dir();
        remove_stale(&parent).await;
        // Open to all, so that an unprivileged PostgreSQL gets through without capabilities.
        let mode = fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(mode)
            .tempdir_in(&parent);
        let dir = dir.at("create a directory in", &parent)?;
        let options = Options {
            data_dir: dir.path().join("data"),
            citus,
            workers,
            ..Options::default()
        };
        Ok(Self {
            env: LocalEnv::start(&options, false).await?,
            dir,
        })
    }

    /// The running environment.
    #[must_use]
    pub fn env(&self) -> &LocalEnv {
        &self.env
    }

    /// Stops everything and removes the directory.
    ///
    /// # Errors
    /// A node that does not stop, or a directory that cannot be removed.
    pub async fn stop(self) -> Result<()> {
        let stopped = self.env.stop().await;
        let path = self.dir.path().to_path_buf();
        stopped.and(self.dir.close().at("remove", &path))
    }
}

/// Stops and removes environments whose process was killed: there is a marker, but nobody holds the
/// lock. Best effort: what belongs to others stays.
async fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let data = entry.path().join("data");
        if !data.join("sheaf.json").is_file() {
            continue;
        }
        let Ok(data_dir) = DataDir::open(&data) else {
            continue;
        };
        let Ok(Some(state)) = data_dir.state() else {
            continue;
        };
        let stopped = Cluster::stop_orphans(data_dir.path(), &state).await;
        let removed =
            stopped.and_then(|()| fs::remove_dir_all(entry.path()).at("remove", &entry.path()));
        if let Err(error) = removed {
            tracing::debug!(%error, "a killed run's directory stays");
        }
    }
}
