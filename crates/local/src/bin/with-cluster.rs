//! `with-cluster [--plain] -- COMMAND [ARGUMENT]...` runs a command beside a throwaway cluster and
//! S3, which it finds in its environment, and exits with the command's code.
//! `SHEAF_REQUIRE_CITUS=1` makes a missing Citus an error.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use sheaf_local::{CitusMode, LocalEnv, Throwaway};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

const USAGE: &str = "usage: with-cluster [--plain] -- COMMAND [ARGUMENT]...";
/// Exit codes below this are the command's own; the shells' convention for our failures.
const OUR_FAILURE: u8 = 125;
/// A command that was told to stop gets this long.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-cluster: {error}");
            ExitCode::from(OUR_FAILURE)
        }
    }
}

async fn run() -> Result<u8, Box<dyn std::error::Error>> {
    let (citus, mut command) = arguments()?;
    let mut signals = Signals::new()?;
    let throwaway = tokio::select! {
        started = Throwaway::start(citus) => started?,
        number = signals.next() => return Ok(exit_code_of_signal(number)),
    };
    let env = throwaway.env();
    eprintln!("with-cluster: {}", env.describe());
    if citus == CitusMode::Auto && !env.is_citus() {
        eprintln!("with-cluster: tests that need a Citus cluster are to be skipped");
    }
    export(&mut command, env);
    let code = match command.spawn() {
        Ok(child) => watch(child, env, &mut signals).await,
        Err(error) => Err(format!("cannot run the command: {error}").into()),
    };
    throwaway.stop().await?;
    code
}

fn arguments() -> Result<(CitusMode, Command), String> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let require = std::env::var_os("SHEAF_REQUIRE_CITUS").is_some_and(|value| value == "1");
    let mut citus = if require {
        CitusMode::Require
    } else {
        CitusMode::Auto
    };
    if arguments
        .next_if(|argument| argument == "--plain")
        .is_some()
    {
        citus = CitusMode::Off;
    }
    arguments
        .next_if(|argument| argument == "--")
        .ok_or(USAGE)?;
    let mut command = Command::new(arguments.next().ok_or(USAGE)?);
    command
        .args(arguments.collect::<Vec<OsString>>())
        .kill_on_drop(true);
    Ok((citus, command))
}

fn export(command: &mut Command, env: &LocalEnv) {
    command
        .env("SHEAF_TEST_DATABASE_URL", env.database_url())
        .env("SHEAF_TEST_API_DATABASE_URL", env.api_database_url())
        .env("SHEAF_TEST_S3_ENDPOINT", env.s3_endpoint())
        .env("SHEAF_TEST_S3_BUCKET", env.bucket())
        .env("SHEAF_TEST_S3_REGION", env.region())
        .env("AWS_ACCESS_KEY_ID", env.access_key())
        .env("AWS_SECRET_ACCESS_KEY", env.secret_key())
        .env("SHEAF_TEST_CITUS", if env.is_citus() { "1" } else { "0" })
        .env("SHEAF_TEST_DATA_DIR", env.data_dir());
}

/// Waits for the command, for a signal to us, or for the environment to break.
async fn watch(
    mut child: Child,
    env: &LocalEnv,
    signals: &mut Signals,
) -> Result<u8, Box<dyn std::error::Error>> {
    tokio::select! {
        status = child.wait() => Ok(exit_code(status?)),
        number = signals.next() => {
            stop(&mut child).await?;
            Ok(exit_code_of_signal(number))
        }
        error = env.failed() => {
            stop(&mut child).await?;
            Err(error.into())
        }
    }
}

/// Asks the command to stop, and ends it if it does not.
async fn stop(child: &mut Child) -> std::io::Result<()> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(number)) => exit_code_of_signal(number),
        (None, None) => 1,
    }
}

fn exit_code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}
