//! The real server, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper::header::HOST;
use hyper::{Request, StatusCode};
use sheaf_loadtest::load::http::{AnyBody, Connection, HttpError, Server, whole};
use sheaf_local::LocalEnv;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;

const READY: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// The `sheaf` binary beside us; built when cargo runs us.
pub(crate) async fn binary(release: &Path) -> Result<PathBuf, Failure> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--release", "-p", "sheaf"])
            .status()
            .await?;
        if !built.success() {
            return Err("the sheaf binary cannot be built".into());
        }
    }
    let sheaf = release.join("sheaf");
    if sheaf.is_file() {
        Ok(sheaf)
    } else {
        Err(format!(
            "{} is missing: cargo build --release -p sheaf",
            sheaf.display()
        )
        .into())
    }
}

/// `sheaf serve`. Dropping it kills the process.
pub(crate) struct Serve {
    child: Child,
    url: String,
}

impl Serve {
    /// Migrates the database, starts the server on a free port, and waits until it is ready.
    pub(crate) async fn start(
        sheaf: &Path,
        env: &LocalEnv,
        admin_key: &str,
    ) -> Result<Self, Failure> {
        Self::start_with(sheaf, env, admin_key, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn start_with(
        sheaf: &Path,
        env: &LocalEnv,
        admin_key: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let listen = TcpListener::bind("127.0.0.1:0")
            .await?
            .local_addr()?
            .to_string();
        let command = |name: &str| {
            let mut command = Command::new(sheaf);
            command
                .arg(name)
                .env("SHEAF_DATABASE_URL", env.database_url())
                .env("SHEAF_API_DATABASE_URL", env.api_database_url())
                .env("SHEAF_S3_ENDPOINT", env.s3_endpoint())
                .env("SHEAF_S3_BUCKET", env.bucket())
                .env("SHEAF_S3_REGION", env.region())
                .env("AWS_ACCESS_KEY_ID", env.access_key())
                .env("AWS_SECRET_ACCESS_KEY", env.secret_key())
                .env("SHEAF_ADMIN_KEY", admin_key)
                .env("SHEAF_LISTEN", &listen)
                .env("SHEAF_LOG", "warn")
                .envs(settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true);
            command
        };
        if !command("migrate").status().await?.success() {
            return Err("sheaf migrate failed".into());
        }
        let mut child = command("serve").spawn()?;
        let url = format!("http://{listen}");
        let server = Server::parse(&url)?;
        let deadline = Instant::now() + READY;
        while !ready(&server).await.unwrap_or(false) {
            if let Some(status) = child.try_wait()? {
                return Err(format!("sheaf serve ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("sheaf serve is not ready after 30 s".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { child, url })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32, Failure> {
        self.child
            .id()
            .ok_or_else(|| "sheaf serve has ended".into())
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The most memory that it had resident so far, in MiB: VmHWM of /proc.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    pub(crate) fn peak_mib(&self) -> Result<f64, Failure> {
        let pid = self.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        let kib: u32 = kib.ok_or("no VmHWM in /proc")?.trim().parse()?;
        Ok(f64::from(kib) / 1024.0)
    }

    /// Stops it as an operator would, and waits.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").arg(pid.to_string()).status().await?;
        }
        let ended = timeout(STOP, self.child.wait()).await;
        let status = ended.map_err(|_| "sheaf serve does not stop")??;
        if status.success() {
            Ok(())
        } else {
            Err(format!("sheaf serve did not end cleanly: {status}").into())
        }
    }
}

async fn ready(server: &Server) -> Result<bool, HttpError> {
    let mut connection = Connection::<AnyBody>::open(server).await?;
    let mut request = Request::new(whole(""));
    *request.uri_mut() = hyper::Uri::from_static("/readyz");
    let host = server.authority().parse();
    request
        .headers_mut()
        .insert(HOST, host.map_err(|_| HttpError::Closed)?);
    Ok(connection.exchange(request, |_| ()).await?.status() == StatusCode::OK)
}
