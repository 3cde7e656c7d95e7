//! Processes of the binary under test, and what they leave.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Two cores, shared with other tests: patience costs nothing where all is well.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// The binary, without the caller's own settings. `SHEAF_BINARY` names another one, such as an
/// earlier release, to see what the check and the poison find there.
pub fn sheaf() -> Command {
    let other = std::env::var_os("SHEAF_BINARY");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_sheaf").into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["SHEAF_", "AWS_", "OTEL_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Waits until `done` answers something, or fails with what was waited for.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(POLL);
    }
}

/// A temporary place for one data directory. Whatever still runs in it is killed with it.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        // Open to all, so that an unprivileged PostgreSQL gets through.
        let mode = fs::Permissions::from_mode(0o755);
        Self(
            tempfile::Builder::new()
                .prefix("sheaf-e2e-")
                .permissions(mode)
                .tempdir()
                .unwrap(),
        )
    }

    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Processes that run in the data directory: PostgreSQL's have it as working directory.
    pub fn processes(&self) -> Vec<i32> {
        let dir = self.data();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            cwd.starts_with(&dir)
                || String::from_utf8_lossy(&arguments).contains(dir.to_str().unwrap())
        })
        .collect()
    }

    /// The first PostgreSQL server's process.
    pub fn postmaster(&self) -> i32 {
        let nodes = fs::read_dir(self.data().join("pg")).unwrap().flatten();
        let mut files = nodes.filter_map(|node| find_file(&node.path(), "postmaster.pid"));
        let content = fs::read_to_string(files.next().expect("a running node")).unwrap();
        content.lines().next().unwrap().parse().unwrap()
    }
}

fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    let file = dir.join(name);
    if file.is_file() {
        return Some(file);
    }
    let below = fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join(name));
    below.into_iter().find(|file| file.is_file())
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.processes() {
            send(pid, Signal::KILL);
        }
    }
}

pub fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// A running `sheaf up`, or another long-running command.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    pub fn start(command: &mut Command, place: &Place, name: &str) -> Self {
        let file = |kind: &str| place.path().join(format!("{name}.{kind}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        Self {
            child: command.spawn().unwrap(),
            stdout,
            stderr,
        }
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        send(self.child.id().try_into().unwrap(), signal);
        self.ended()
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("a process to end", || self.child.try_wait().unwrap())
    }

    /// Kills without warning.
    pub fn kill(&mut self) {
        assert_eq!(
            self.end(Signal::KILL).signal(),
            Some(9),
            "it had ended before: {}",
            self.stderr()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.end(Signal::TERM);
        }
    }
}

/// What `up` wrote for clients.
pub type Env = HashMap<String, String>;

/// A ready `sheaf up` in a place.
pub struct Up {
    pub running: Running,
    pub env: Env,
    dir: PathBuf,
}

pub fn up_command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = sheaf();
    command
        .args(["up", "--data-dir"])
        .arg(place.data())
        .args(["--port", "0"])
        .args(arguments);
    command
}

impl Up {
    /// Starts and waits until it is ready. `workers`: 0 for a plain node.
    pub fn start(place: &Place, workers: usize) -> Self {
        Self::start_with(place, workers, &[])
    }

    /// The same with settings in its environment.
    pub fn start_with(place: &Place, workers: usize, settings: &[(&str, &str)]) -> Self {
        let workers = workers.to_string();
        let mut command = up_command(place, &["--workers", &workers]);
        command.envs(settings.iter().copied());
        let mut running = Running::start(&mut command, place, "up");
        let dir = place.data();
        // A stale file of a killed run must not be taken for this one's.
        let env = wait_for("sheaf up to be ready", || {
            assert!(!running.has_ended(), "sheaf up ended: {}", running.stderr());
            running
                .stdout()
                .contains("# sheaf is ready")
                .then(|| read_env(&dir.join("env")))
        });
        Self { running, env, dir }
    }

    pub fn env_file(&self) -> PathBuf {
        self.dir.join("env")
    }

    /// A client command in this environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sheaf();
        command.envs(&self.env).args(arguments);
        command
    }

    /// Runs a client command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.command(arguments))
    }
}

/// Reads `export NAME=value` lines, in order.
pub fn env_lines(file: &Path) -> Vec<(String, String)> {
    let content = fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let (name, value) = line
            .strip_prefix("export ")
            .unwrap()
            .split_once('=')
            .unwrap();
        (name.to_owned(), value.to_owned())
    };
    content.lines().map(line).collect()
}

fn read_env(file: &Path) -> Env {
    env_lines(file).into_iter().collect()
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn of(command: &mut Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// The JSON that a successful command printed.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Asserts that the command failed with one sentence on stderr which has all these words.
    #[track_caller]
    pub fn assert_sentence(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("sheaf: "), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }
}
