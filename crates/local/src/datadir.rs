//! The data directory: its lock, its marker file, and what the marker remembers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, LocalError, Result};

const MARKER: &str = "sheaf.json";
const LOCK: &str = "lock";
const LOCK_POLL: Duration = Duration::from_secs(2);

/// The marker's content: what must be the same at the next start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// Says that the directory is ours, and in which format.
    pub(crate) sheaf_data_dir: u32,
    pub(crate) citus: bool,
    /// PostgreSQL's major version.
    pub(crate) postgres: u32,
    /// The coordinator (or the only node) first.
    pub(crate) nodes: Vec<NodeState>,
    /// Whether Citus was told about the first nodes. From then on the cluster's own commands say
    /// who is in it.
    #[serde(default)]
    pub(crate) introduced: bool,
    pub(crate) password: String,
    pub(crate) s3: S3State,
    /// Secrets of the program that runs here, by name.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
    /// Ports of it, by name.
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, u16>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct S3State {
    pub(crate) port: u16,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// A locked data directory. The lock ends with the value, or with the process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Opens or creates the directory and takes its lock. Nothing in a foreign directory is
    /// touched.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).at("find", path)?;
        refuse_foreign(&path)?;
        fs::create_dir_all(&path).at("create", &path)?;
        let path = path.canonicalize().at("find", &path)?;
        close(&path)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path);
        let lock = lock.at("create", &lock_path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(LocalError::Locked { dir: path }),
            Err(TryLockError::Error(source)) => Err(source).at("lock", &lock_path),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier start left, if there was one.
    pub(crate) fn state(&self) -> Result<Option<State>> {
        let marker = self.path.join(MARKER);
        match fs::read(&marker) {
            Ok(content) => {
                serde_json::from_slice(&content)
                    .map(Some)
                    .map_err(|error| LocalError::BadState {
                        path: marker,
                        reason: error.to_string(),
                    })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &marker),
        }
    }

    /// Writes the marker, all or nothing.
    pub(crate) fn save(&self, state: &State) -> Result<()> {
        let (marker, new) = (self.path.join(MARKER), self.path.join("sheaf.json.new"));
        let content = serde_json::to_vec_pretty(state).map_err(|error| LocalError::BadState {
            path: marker.clone(),
            reason: error.to_string(),
        })?;
        write_private(&new, &content)?;
        fs::rename(&new, &marker).at("replace", &marker)
    }

    /// Removes all that is in the directory but the lock.
    pub(crate) fn empty(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).at("read", &self.path)? {
            let entry = entry.at("read", &self.path)?;
            let path = entry.path();
            if entry.file_name() == LOCK {
                continue;
            }
            let directory = entry.file_type().at("look at", &path)?.is_dir();
            if directory {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            }
            .at("remove", &path)?;
        }
        Ok(())
    }

    /// Resolves when the lock file on disk is no longer the one that we hold, such as when the
    /// directory was removed.
    pub(crate) async fn lost(&self) -> LocalError {
        let path = self.path.join(LOCK);
        let held = self
            .lock
            .metadata()
            .map(|meta| (meta.dev(), meta.ino()))
            .ok();
        loop {
            tokio::time::sleep(LOCK_POLL).await;
            let on_disk = fs::metadata(&path)
                .map(|meta| (meta.dev(), meta.ino()))
                .ok();
            if held.is_none() || on_disk != held {
                return LocalError::LockLost { path };
            }
        }
    }
}

/// Closes the directory, and what an earlier version left open in it, to others. Under root,
/// PostgreSQL runs as an account of its own, which has to get through the directory to its own
/// below; it finds what it knows the name of, and sees no more.
fn close(path: &Path) -> Result<()> {
    let through = match rustix::process::geteuid().is_root() {
        true => 0o711,
        false => 0o700,
    };
    match fs::set_permissions(path, Permissions::from_mode(through)) {
        // Somebody else's directory, in which we may write: what is below is ours and closed.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            tracing::warn!(dir = %path.display(),
                "the data directory is another user's and stays open");
        }
        other => other.at("set the mode of", path)?,
    }
    for name in ["pg", "log", "s3"] {
        let below = path.join(name);
        if below.is_dir() {
            closed_dir(&below)?;
        }
    }
    Ok(())
}

/// Makes a directory that is its user's alone, or closes one that is there.
pub(crate) fn closed_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).at("create", path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).at("set the mode of", path)
}

/// A directory is ours when it has our marker, or nothing but what a first start leaves when it
/// breaks off early.
fn refuse_foreign(path: &Path) -> Result<()> {
    let foreign = || LocalError::ForeignDataDir {
        dir: path.to_path_buf(),
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("read", path),
    };
    let marker = path.join(MARKER);
    if marker.is_file() {
        let content = fs::read_to_string(&marker).at("read", &marker)?;
        return if content.contains("\"sheaf_data_dir\"") {
            Ok(())
        } else {
            Err(foreign())
        };
    }
    for entry in entries {
        let name = entry.at("read", path)?.file_name();
        if ![LOCK, "sheaf.json.new", "lost+found"]
            .iter()
            .any(|ours| name == *ours)
        {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Writes a file with mode 0600 and flushes it to the disk.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    // A file that is there already would keep its mode.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).at("replace", path);
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .at("create", path)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .at("write", path)
}

/// `bytes` random bytes from the operating system, as lower-case hexadecimal digits.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0_u8; bytes];
    OsRng
        .try_fill_bytes(&mut random)
        .map_err(|error| LocalError::Program {
            program: "getrandom".to_owned(),
            detail: error.to_string(),
        })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
