//! One PostgreSQL server: initdb, start, watch, stop, and the recovery of what a killed parent left
//! behind.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;

use crate::account::Launcher;
use crate::error::{IoContext, LocalError, Result};
use crate::install::Install;

/// A fast shutdown writes a checkpoint; a node that takes longer is stopped without one.
const FAST_SHUTDOWN: Duration = Duration::from_secs(30);
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// A log larger than this is set aside at the next start (one generation is kept).
const LOG_LIMIT: u64 = 16 * 1024 * 1024;
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 10;
const PID_FILE: &str = "postmaster.pid";

/// Where a node lives and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// PostgreSQL's data directory.
    pub(crate) dir: PathBuf,
    pub(crate) log: PathBuf,
}

/// A running server, our direct child. Dropping it stops the server at once.
#[derive(Debug)]
pub(crate) struct Node {
    pid: Pid,
    watcher: Watcher,
}

/// Sees how a server ends, also from afar.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    pub(crate) spec: Spec,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Spec {
    /// Runs initdb unless an earlier start did. `password_file` holds the superuser's password on
    /// its first line.
    pub(crate) async fn init(
        &self,
        install: &Install,
        launcher: &Launcher,
        password_file: &Path,
    ) -> Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        // initdb works beside the final name, so that a broken-off one is never mistaken for a
        // database.
        let fresh = self.dir.with_extension("new");
        let mut refusal = String::new();
        // C.UTF-8 is not everywhere; C sorts the same, it only knows no letters outside ASCII.
        for locale in ["C.UTF-8", "C"] {
            if fresh.exists() {
                fs::remove_dir_all(&fresh).at("remove", &fresh)?;
            }
            let mut command = Command::from(launcher.command(&install.program("initdb")));
            command
                .arg("-D")
                .arg(&fresh)
                .arg("--pwfile")
                .arg(password_file)
                .arg(format!("--locale={locale}"));
            command.args([
                "--username=sheaf",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ]);
            let output = command
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
                .await;
            let output = output.at("run", &install.program("initdb"))?;
            if output.status.success() {
                return fs::rename(&fresh, &self.dir).at("rename", &fresh);
            }
            refusal = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if !refusal.contains("locale") {
                break;
            }
        }
        Err(LocalError::Program {
            program: "initdb".to_owned(),
            detail: refusal,
        })
    }

    /// Starts the server. It is not ready yet when this returns. `ended` counts up when the server
    /// has ended.
    pub(crate) fn start(
        self,
        install: &Install,
        launcher: &Launcher,
        settings: &[String],
        passfile: &Path,
        ended: watch::Sender<u64>,
    ) -> Result<Node> {
        let log = open_log(&self.log)?;
        let errors = log.try_clone().at("open", &self.log)?;
        let mut command = Command::from(launcher.command(&install.program("postgres")));
        command
            .arg("-D")
            .arg(&self.dir)
            .arg("-p")
            .arg(self.port.to_string())
            .env("PGPASSFILE", passfile);
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // Its own process group: a terminal's Ctrl-C is for us, who drain before the database goes.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().at("run", &install.program("postgres"))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(self.failure("stopped as soon as it was started".to_owned()));
        };
        let (report, exit) = watch::channel(None);
        tokio::spawn(async move {
            // An error of wait means that the child is not ours any more: gone either way.
            let status = child.wait().await.unwrap_or_default();
            // Nobody listening is fine: the node was dropped.
            let _ = report.send(Some(status));
            ended.send_modify(|count| *count = count.wrapping_add(1));
        });
        Ok(Node {
            pid,
            watcher: Watcher { spec: self, exit },
        })
    }

    fn failure(&self, what: String) -> LocalError {
        LocalError::Node {
            node: self.name.clone(),
            what,
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }

    /// Stops a server that a killed parent left running in this very directory, and clears a lock
    /// file that names a stranger's process (PostgreSQL would refuse to start if that one belongs
    /// to the same account).
    pub(crate) async fn stop_orphan(&self) -> Result<()> {
        let pid_file = self.dir.join(PID_FILE);
        let Some(pid) = read_pid(&pid_file) else {
            return Ok(());
        };
        match process_in(pid, &self.dir) {
            Occupant::Nobody => Ok(()),
            Occupant::Stranger => fs::remove_file(&pid_file).at("remove", &pid_file),
            Occupant::Ours => {
                tracing::info!(node = %self.name, pid = pid.as_raw_nonzero(),
                    "stopping the server of an earlier run");
                for (signal, patience) in [
                    (Signal::INT, FAST_SHUTDOWN),
                    (Signal::QUIT, IMMEDIATE_SHUTDOWN),
                    (Signal::KILL, IMMEDIATE_SHUTDOWN),
                ] {
                    // It may be gone by now; the loop below sees that.
                    let _ = kill_process(pid, signal);
                    let deadline = Instant::now() + patience;
                    while Instant::now() < deadline {
                        if process_in(pid, &self.dir) != Occupant::Ours {
                            return Ok(());
                        }
                        tokio::time::sleep(POLL).await;
                    }
                }
                Err(self.failure(format!(
                    "of an earlier run (process {}) does not stop",
                    pid.as_raw_nonzero()
                )))
            }
        }
    }
}

impl Watcher {
    /// Resolves when the server ends, for whatever reason.
    pub(crate) async fn exited(&self) -> LocalError {
        let mut exit = self.exit.clone();
        // The sender is never dropped before it has sent, unless the runtime ends: then nobody
        // awaits this.
        let _ = exit.wait_for(Option::is_some).await;
        self.ended()
            .unwrap_or_else(|| self.spec.failure("ended".to_owned()))
    }

    /// How the server ended, if it has.
    pub(crate) fn ended(&self) -> Option<LocalError> {
        let status = (*self.exit.borrow())?;
        Some(self.spec.failure(format!("ended unexpectedly ({status})")))
    }

    /// What to report when the server does not get ready in time.
    pub(crate) fn not_ready(&self, detail: &str) -> LocalError {
        self.spec.failure(format!("did not get ready ({detail})"))
    }
}

impl Node {
    pub(crate) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Stops the server: fast first, then harder. Returns when it is gone.
    pub(crate) async fn stop(self) -> Result<()> {
        self.end(&[
            (Signal::INT, FAST_SHUTDOWN),
            (Signal::QUIT, IMMEDIATE_SHUTDOWN),
            (Signal::KILL, IMMEDIATE_SHUTDOWN),
        ])
        .await
    }

    /// Kills the server's parent process without warning. Its children go as soon as they look up
    /// from their work.
    pub(crate) async fn kill(self) -> Result<()> {
        self.end(&[(Signal::KILL, IMMEDIATE_SHUTDOWN)]).await
    }

    async fn end(self, signals: &[(Signal, Duration)]) -> Result<()> {
        let mut exit = self.watcher.exit.clone();
        for (signal, patience) in signals {
            if !self.signal(*signal)
                || tokio::time::timeout(*patience, exit.wait_for(Option::is_some))
                    .await
                    .is_ok()
            {
                return Ok(());
            }
        }
        Err(self.watcher.spec.failure("does not stop".to_owned()))
    }

    /// Sends a signal unless the server has ended (its process id may be somebody else's by then).
    fn signal(&self, signal: Signal) -> bool {
        self.watcher.exit.borrow().is_none() && kill_process(self.pid, signal).is_ok()
    }
}

impl Drop for Node {
    /// Best effort for panics and early returns: an immediate shutdown, so that no process survives
    /// us.
    fn drop(&mut self) {
        if !self.signal(Signal::QUIT) {
            return;
        }
        let deadline = Instant::now() + IMMEDIATE_SHUTDOWN;
        // The runtime may not get to reap the child while we block here; the server removes its
        // file when it ends.
        while self.watcher.spec.dir.join(PID_FILE).exists() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Occupant {
    Nobody,
    Ours,
    Stranger,
}

/// Who runs under the process id that a lock file names: a postmaster works inside its data
/// directory.
fn process_in(pid: Pid, dir: &Path) -> Occupant {
    let id = pid.as_raw_nonzero();
    if Path::new("/proc/self/cwd").exists() {
        return match fs::read_link(format!("/proc/{id}/cwd")) {
            Ok(cwd) if fs::canonicalize(dir).is_ok_and(|dir| dir == cwd) => Occupant::Ours,
            Ok(_) => Occupant::Stranger,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Occupant::Stranger
            }
            // Gone, or a zombie that waits to be reaped.
            Err(_) => Occupant::Nobody,
        };
    }
    let output = std::process::Command::new("ps")
        .args(["-o", "command=", "-p", &id.to_string()])
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    match (
        text.trim().is_empty(),
        text.contains(&*dir.to_string_lossy()),
    ) {
        (true, _) => Occupant::Nobody,
        (false, true) => Occupant::Ours,
        (false, false) => Occupant::Stranger,
    }
}

fn read_pid(pid_file: &Path) -> Option<Pid> {
    Pid::from_raw(
        fs::read_to_string(pid_file)
            .ok()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()?,
    )
}

fn open_log(path: &Path) -> Result<File> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        fs::rename(path, path.with_extension("log.1")).at("rename", path)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .at("open", path)
}

/// The last lines of a log, for error messages.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
