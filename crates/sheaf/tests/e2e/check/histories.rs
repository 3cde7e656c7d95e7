//! The independent check (`sheaf-loadtest check`) against a whole system that is broken all the
//! time: two API processes, a cluster and S3, each killed and started again while clients work and
//! operators tier, move shards and erase.
//!
//! `SHEAF_CHECK_SECONDS` is how long (60 on each topology, `make check`: 1,800); `SHEAF_CHECK_SEED`
//! makes other choices. In the last quarter only archives break, and a tenant without one must not
//! notice.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sheaf_loadtest::check::{Fault, Settings, check};
use sheaf_loadtest::load::http::Server;
use sheaf_local::{CitusMode, LocalEnv, S3Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::command::cluster::{ADMIN_KEY, Rig};
use crate::process::{Place, sheaf};
use crate::proxy::Proxy;

const SECONDS: u64 = 60;
/// What is chosen in the suite: the same in each run, so that a run that fails can be looked at.
pub(crate) const SEED: u64 = 17;
/// How long answers are kept for a call that is sent again.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The last part of the clients' work, whose answers are kept still when all earlier ones are not.
const LAST: Duration = Duration::from_secs(20);
/// How long a process may take to answer after its start, on a busy machine.
const READY: Duration = Duration::from_secs(120);
/// Lines of a process' log that are printed when the check fails.
const ERRORS_TOLD: usize = 50;

#[test]
fn no_history_is_impossible() {
    run(CitusMode::Off, 0);
}

#[test]
fn citus_no_history_is_impossible() {
    run(CitusMode::Require, 2);
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |text| text.parse().expect(name))
}

fn run(citus: CitusMode, workers: usize) {
    let rig = Rig::start_with(citus, workers, "8");
    let duration = Duration::from_secs(number("SHEAF_CHECK_SECONDS", SECONDS));
    let seed = number("SHEAF_CHECK_SEED", SEED);
    let Rig {
        runtime,
        local,
        env,
        place,
    } = rig;
    let report = runtime.block_on(async {
        let system = Arc::new(System::start(local, env, &place).await);
        let report = check(Settings {
            servers: system.servers(),
            admin_key: ADMIN_KEY.to_owned(),
            duration,
            clients: 8,
            tenants: 4,
            rate: 100,
            seed,
            patience: Duration::from_secs(30),
            faults: faults(&system, workers),
            lanes: 2,
            pause: Duration::from_secs(2),
            calm: duration / 4,
            finish: finish(
                &system,
                workers,
                Instant::now() + duration.saturating_sub(LAST),
            ),
            broken: broken(&system),
            journal: std::env::var_os("SHEAF_CHECK_JOURNAL").map(Into::into),
        });
        let report = report.await.unwrap();
        system.stop().await;
        if !report.violations.is_empty() {
            system.tell_errors();
        }
        report
    });
    eprintln!(
        "seed {seed}: {}",
        serde_json::to_string(&(&report.calls, &report.faults)).unwrap()
    );
    assert!(
        report.violations.is_empty(),
        "seed {seed}: {:#?}",
        (&report.kinds, &report.violations)
    );
    let done: u64 = report.calls.values().map(|[done, ..]| done).sum();
    // A check of next to nothing would find nothing.
    assert!(done > duration.as_secs() * 5, "{:?}", report.calls);
    assert!(
        report.documents[1] > 0,
        "nothing was archived: {:?}",
        report.documents
    );
    drop(place);
}

/// What is broken and made whole again.
struct System {
    local: LocalEnv,
    env: HashMap<String, String>,
    apis: [(u16, Mutex<Option<Child>>); 2],
    s3: Mutex<Option<S3Server>>,
    s3_root: PathBuf,
    logs: PathBuf,
    s3_key: [String; 3],
    moves: AtomicUsize,
    hides: AtomicUsize,
    /// Before the only node there is; on a cluster there is none, since nodes are told of one
    /// another.
    proxy: Option<Proxy>,
    /// Whoever hides objects brings them back before the next one does.
    hidden: Mutex<()>,
}

/// Whether the API answers. It listens before it has found its database, and ends when there is
/// none.
async fn lives(port: u16) -> bool {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = b"GET /healthz HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(&answer == b"HTTP/1.1 200")
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
    matches!(answer, Ok(Ok(true)))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl System {
    async fn start(local: LocalEnv, mut env: HashMap<String, String>, place: &Place) -> Self {
        let proxy = if local.node_urls().len() == 1 {
            let port = crate::command::cluster::port_of(local.database_url());
            let node = format!("127.0.0.1:{port}");
            let proxy = Proxy::start(node.parse().unwrap()).await;
            let url = &env["SHEAF_DATABASE_URL"];
            let proxied = url.replace(&format!(":{port}"), &format!(":{}", proxy.port));
            assert_ne!(&proxied, url);
            // The proxy reads what passes.
            let proxied = format!("{proxied}?sslmode=disable");
            env.insert("SHEAF_DATABASE_URL".to_owned(), proxied);
            Some(proxy)
        } else {
            None
        };
        let s3_root = place.path().join("s3-of-the-check");
        let s3_key = [local.access_key(), local.secret_key(), local.bucket()].map(str::to_owned);
        let [access, secret, bucket] = s3_key.clone();
        let port = local.port("s3-of-the-check").unwrap();
        let s3 = S3Server::start(s3_root.clone(), port, access, secret, bucket)
            .await
            .unwrap();
        env.insert("SHEAF_S3_ENDPOINT".to_owned(), s3.endpoint());
        // Of those that no outgoing connection takes while the process is down.
        let apis = ["api-0", "api-1"].map(|name| (local.port(name).unwrap(), Mutex::new(None)));
        let system = Self {
            local,
            env,
            apis,
            s3: Mutex::new(Some(s3)),
            s3_root,
            logs: place.path().to_owned(),
            s3_key,
            moves: AtomicUsize::new(0),
            hides: AtomicUsize::new(0),
            proxy,
            hidden: Mutex::new(()),
        };
        for api in 0..system.apis.len() {
            system.kill_api(api, None).await.unwrap();
        }
        system
    }

    fn servers(&self) -> Vec<Server> {
        let url =
            |(port, _): &(u16, _)| Server::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        self.apis.iter().map(url).collect()
    }

    fn command(&self, program: std::process::Command) -> Command {
        let mut command = Command::from(program);
        command
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Kills an API process without warning, if it runs, and starts it again; its clock may be off
    /// then.
    async fn kill_api(&self, api: usize, clock: Option<&str>) -> Result<(), String> {
        let (port, child) = &self.apis[api];
        let mut child = child.lock().await;
        if let Some(mut running) = child.take() {
            running.kill().await.map_err(text)?;
        }
        let mut program = sheaf();
        if let Some(clock) = clock {
            let sheaf = program.get_program().to_owned();
            program = std::process::Command::new("faketime");
            program.args(["-f", clock]).arg(sheaf);
        }
        program.args([
            "serve",
            "--log-format",
            "json",
            "--listen",
            &format!("127.0.0.1:{port}"),
        ]);
        let deadline = Instant::now() + READY;
        let mut command = self.command(program);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(api))
            .map_err(text)?;
        *child = Some(command.stderr(log).spawn().map_err(text)?);
        while !lives(*port).await {
            let ended = child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() {
                // It found no database: started again, as a supervisor does.
                *child = Some(command.spawn().map_err(text)?);
            }
            if Instant::now() >= deadline {
                return Err(format!("API {api} does not listen again"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn log(&self, api: usize) -> PathBuf {
        self.logs.join(format!("api-{api}.log"))
    }

    /// Prints the errors that the API processes logged: the cause of an answer that must not be.
    fn tell_errors(&self) {
        for api in 0..self.apis.len() {
            let log = std::fs::read_to_string(self.log(api)).unwrap_or_default();
            let errors: Vec<&str> = log
                .lines()
                .filter(|line| line.contains("\"level\":\"ERROR\""))
                .collect();
            for line in errors.iter().rev().take(ERRORS_TOLD).rev() {
                eprintln!("API {api}: {line}");
            }
        }
    }

    async fn kill_node(&self, node: usize) -> Result<(), String> {
        self.local.kill_node(node).await.map_err(text)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.local.start_node(node).await.map_err(text)
    }

    async fn kill_s3(&self) -> Result<(), String> {
        let mut s3 = self.s3.lock().await;
        let running = s3.take().ok_or("S3 does not run")?;
        let port = running.port();
        running.stop().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let [access, secret, bucket] = self.s3_key.clone();
        let started = S3Server::start(self.s3_root.clone(), port, access, secret, bucket).await;
        *s3 = Some(started.map_err(text)?);
        Ok(())
    }

    /// Runs a command of an operator.
    async fn operate(&self, arguments: &[&str]) -> Result<(), String> {
        let mut program = sheaf();
        program.args(arguments);
        self.ended(program).await
    }

    async fn ended(&self, program: std::process::Command) -> Result<(), String> {
        let done = self.command(program).output().await.map_err(text)?;
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        if done.status.success() {
            Ok(())
        } else {
            Err(said)
        }
    }

    async fn lose_answers(&self) -> Result<(), String> {
        let proxy = self.proxy.as_ref().ok_or("there is no proxy")?;
        proxy.lose_answers(Duration::from_millis(300)).await;
        Ok(())
    }

    /// Does something while the objects of one tenant are not to be found: the oldest one's, or
    /// another's.
    async fn without_objects(
        &self,
        tenant: usize,
        work: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let _alone = self.hidden.lock().await;
        let root = self.s3_root.join(&self.s3_key[2]).join("v1/invoices");
        // By their ids, which begin with the time.
        let mut tenants = directories(&root);
        tenants.sort();
        if tenants.is_empty() {
            return Err("nothing is archived".to_owned());
        }
        let away = self.s3_root.with_extension("hidden");
        let mut moved = Vec::new();
        for file in files(&tenants[tenant % tenants.len()]) {
            let to = away.join(file.strip_prefix(&self.s3_root).map_err(text)?);
            let parent = to.parent().ok_or("no directory")?;
            std::fs::create_dir_all(parent).map_err(text)?;
            // What was deleted meanwhile is no object any more.
            if std::fs::rename(&file, &to).is_ok() {
                moved.push((file, to));
            }
        }
        let done = work.await;
        for (file, to) in moved {
            std::fs::rename(to, file).map_err(text)?;
        }
        done
    }

    /// The archive of one tenant after the other is gone for a moment.
    async fn hide_objects(&self) -> Result<(), String> {
        let tenant = self.hides.fetch_add(1, Ordering::Relaxed);
        let moment = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(())
        };
        self.without_objects(tenant, moment).await
    }

    /// An operator's command with a clock that is off.
    async fn operate_at(&self, clock: &str, arguments: &[&str]) -> Result<(), String> {
        let mut program = std::process::Command::new("faketime");
        program.args(["-f", clock]).arg(sheaf().get_program());
        program.args(arguments);
        self.ended(program).await
    }

    /// Moves the shards of one node to the other and back.
    async fn move_shards(&self) -> Result<(), String> {
        let node = 1 + self.moves.fetch_add(1, Ordering::Relaxed) % 2;
        let port = crate::command::cluster::port_of(&self.local.node_urls()[node]);
        self.operate(&["cluster", "drain-node", "127.0.0.1", &port])
            .await?;
        self.operate(&["cluster", "rebalance"]).await
    }

    async fn stop(&self) {
        for (_, child) in &self.apis {
            if let Some(mut child) = child.lock().await.take() {
                child.kill().await.unwrap();
            }
        }
    }
}

/// A fault made of an async function of the system.
macro_rules! fault {
    ($system:expr, $name:expr, |$s:ident| $work:expr) => {{
        let system = Arc::clone($system);
        Fault::new($name, move || {
            let $s = Arc::clone(&system);
            async move { $work.await }
        })
    }};
}

fn faults(system: &Arc<System>, workers: usize) -> Vec<Fault> {
    let mut faults = vec![
        fault!(system, "kill the first API", |s| s.kill_api(0, None)),
        fault!(system, "kill the second API", |s| s.kill_api(1, None)),
        fault!(system, "kill S3", |s| s.kill_s3()).sparing(),
        fault!(system, "hide objects", |s| s.hide_objects()).sparing(),
        fault!(system, "kill a database", |s| s.kill_node(workers.min(1))),
        fault!(system, "tier", |s| s.operate(&["tier", "run"])).sparing(),
        fault!(system, "tier again", |s| s.operate(&["tier", "run"])).sparing(),
        fault!(system, "compact", |s| s.operate(&["archive", "compact"])).sparing(),
        fault!(system, "erase", |s| s.operate(&["archive", "erase"])).sparing(),
        fault!(system, "collect garbage", |s| s
            .operate(&["archive", "gc", "--grace", "5s"]))
        .sparing(),
    ];
    if system.proxy.is_some() {
        faults.push(fault!(system, "lose answers", |s| s.lose_answers()));
        faults.push(fault!(system, "lose more answers", |s| s.lose_answers()));
    }
    if workers > 0 {
        faults.push(fault!(system, "kill the coordinator", |s| s.kill_node(0)));
        faults.push(fault!(system, "move shards", |s| s.move_shards()));
    }
    if faketime() {
        // Answers that are kept carry the time of the process that gave them: where the last ones
        // are told from earlier ones by it (`finish`), no clock is ahead.
        if workers > 0 {
            faults.push(fault!(system, "a clock ahead", |s| s.kill_api(1, Some("+90s"))));
        }
        faults.push(fault!(system, "a clock behind", |s| s.kill_api(1, Some("-90s"))));
    } else {
        eprintln!("faketime is not installed: clocks do not step");
    }
    faults
}

fn faketime() -> bool {
    let asked = std::process::Command::new("faketime")
        .arg("--version")
        .output();
    asked.is_ok()
}

/// `kept` is from when on answers are to be kept still.
fn finish(system: &Arc<System>, workers: usize, kept: Instant) -> Vec<Fault> {
    let mut finish = vec![
        fault!(system, "erase", |s| s.operate(&["archive", "erase"])),
        fault!(system, "collect all garbage", |s| s
            .operate(&["archive", "gc", "--grace", "0s"])),
    ];
    if faketime() && workers == 0 {
        // Answers are kept for a week: those of the last seconds are kept still, and earlier ones
        // are not.
        finish.push(fault!(system, "erase a week later", |s| async move {
            let clock = format!("+{}s", KEPT.saturating_sub(kept.elapsed()).as_secs());
            let erase = ["archive", "erase", "--grace", "0s", "--clock-skew", "0s"];
            s.operate_at(&clock, &erase).await
        }));
    }
    finish
}

/// What is done while the first tenant's objects are gone, and after it.
fn broken(system: &Arc<System>) -> Vec<Fault> {
    vec![
        fault!(system, "erase with an archive broken", |s| async move {
            let erase = s.operate(&["archive", "erase"]);
            // It says that it failed, and for whom.
            match s.without_objects(0, erase).await {
                Ok(()) => Err("nobody noticed".to_owned()),
                Err(_) => Ok(()),
            }
        }),
        fault!(system, "tier", |s| s.operate(&["tier", "run"])),
        fault!(system, "verify", |s| s.operate(&["archive", "verify"])),
    ]
}

/// Directories in one, if it is there.
fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// All files below a directory.
fn files(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = directories(of).iter().flat_map(|one| files(one)).collect();
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    found.extend(
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file()),
    );
    found
}
