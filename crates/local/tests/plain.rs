//! One plain node: what a person meets at `sheaf up`, from the first start to kill -9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sheaf_local::{CitusMode, LocalEnv, LocalError, Options};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

fn plain(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.into(),
        citus: CitusMode::Off,
        ..Options::default()
    }
}

/// A temporary directory that other accounts can pass through.
fn open_dir() -> TempDir {
    let mode = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(client: &Client) -> i64 {
    client
        .query_one("select count(*) from kept", &[])
        .await
        .unwrap()
        .get(0)
}

fn postmaster(data_dir: &Path) -> Option<Pid> {
    let content = std::fs::read_to_string(data_dir.join("pg/node/postmaster.pid")).ok()?;
    Pid::from_raw(content.lines().next()?.trim().parse().ok()?)
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':')
        .next()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_second_start_finds_all_data_at_the_same_address() {
    let dir = open_dir();
    let options = plain(&dir.path().join("data"));
    let env = LocalEnv::start(&options, false).await.unwrap();
    assert!(!env.is_citus());
    assert_eq!(env.workers(), 0);
    let client = connect(env.database_url()).await;
    client
        .batch_execute("create table kept (id int); insert into kept values (1), (2)")
        .await
        .unwrap();
    let show = |name: &'static str| {
        let client = &client;
        async move {
            client
                .query_one(&format!("show {name}"), &[])
                .await
                .unwrap()
                .get::<_, String>(0)
        }
    };
    assert_eq!(show("fsync").await, "on");
    assert_eq!(show("listen_addresses").await, "127.0.0.1");
    assert_eq!(show("server_encoding").await, "UTF8");
    let before = (
        env.database_url().to_owned(),
        env.s3_endpoint(),
        env.secret("admin").unwrap(),
    );
    assert_ne!(before.2, env.secret("other").unwrap());
    let mode = std::fs::metadata(env.data_dir().join("sheaf.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let refused = tokio_postgres::connect(&before.0.replace("sheaf:", "sheaf:wrong"), NoTls).await;
    assert!(refused.is_err(), "a wrong password is refused");

    let second = LocalEnv::start(&options, false).await;
    assert!(
        matches!(second, Err(LocalError::Locked { .. })),
        "{second:?}"
    );
    let pid = postmaster(&options.data_dir).unwrap();
    env.stop().await.unwrap();
    assert!(test_kill_process(pid).is_err(), "no process is left");

    let port = port_of(&before.0);
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let error = LocalEnv::start(&options, false)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("PostgreSQL node node"),
        "{error}"
    );
    drop(squatter);

    let wanted = Options {
        workers: Some(3),
        citus: CitusMode::Auto,
        ..options.clone()
    };
    let error = LocalEnv::start(&wanted, false).await.unwrap_err();
    assert!(matches!(error, LocalError::Topology { .. }), "{error}");

    let env = LocalEnv::start(&options, false).await.unwrap();
    assert_eq!(
        (
            env.database_url().to_owned(),
            env.s3_endpoint(),
            env.secret("admin").unwrap()
        ),
        before
    );
    assert_eq!(count(&connect(env.database_url()).await).await, 2);
    env.stop().await.unwrap();

    let env = LocalEnv::start(&options, true).await.unwrap();
    assert_ne!(env.secret("admin").unwrap(), before.2, "reset starts over");
    let tables = "select count(*) from pg_tables where tablename = 'kept'";
    let left: i64 = connect(env.database_url())
        .await
        .query_one(tables, &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    env.stop().await.unwrap();
}

#[tokio::test]
async fn kill_9_and_start_again_works() {
    let temp = open_dir();
    let with_cluster = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_with-cluster"));
        command.env("TMPDIR", temp.path()).arg("--plain").arg("--");
        command
    };
    let mut parent = with_cluster()
        .args([
            "sh",
            "-c",
            "echo $$; echo $SHEAF_TEST_DATABASE_URL; echo $SHEAF_TEST_DATA_DIR; exec sleep 600",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let sleeper = Pid::from_raw(lines.next().unwrap().parse().unwrap()).unwrap();
    let (url, data_dir) = (lines.next().unwrap(), lines.next().unwrap());
    let data_dir = Path::new(&data_dir);
    let client = connect(&url).await;
    client
        .batch_execute("create table kept (id int); insert into kept values (1)")
        .await
        .unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    kill_process(sleeper, Signal::KILL).unwrap();
    let orphan = postmaster(data_dir).unwrap();
    assert!(
        test_kill_process(orphan).is_ok(),
        "the server outlives a killed parent"
    );
    client
        .batch_execute("insert into kept values (2)")
        .await
        .unwrap();

    let env = LocalEnv::start(&plain(data_dir), false).await.unwrap();
    assert_eq!(env.database_url(), url);
    assert_ne!(postmaster(data_dir), Some(orphan));
    assert_eq!(count(&connect(&url).await).await, 2);
    env.stop().await.unwrap();

    assert!(data_dir.exists());
    let status = with_cluster()
        .args(["sh", "-c", "exit 7"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7), "the command's code is passed on");
    assert!(
        !data_dir.exists(),
        "a later run clears away what a killed one left"
    );
    assert_eq!(
        std::fs::read_dir(temp.path()).unwrap().count(),
        0,
        "and itself"
    );
}

#[tokio::test]
async fn a_foreign_directory_is_not_touched() {
    let dir = open_dir();
    std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    for reset in [false, true] {
        let error = LocalEnv::start(&plain(dir.path()), reset)
            .await
            .unwrap_err();
        assert!(
            matches!(error, LocalError::ForeignDataDir { .. }),
            "{error}"
        );
    }
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["thesis.txt"]);

    // Somebody else's sheaf.json is no marker of ours.
    std::fs::write(dir.path().join("sheaf.json"), "{}").unwrap();
    let error = LocalEnv::start(&plain(dir.path()), true).await.unwrap_err();
    assert!(
        matches!(error, LocalError::ForeignDataDir { .. }),
        "{error}"
    );
    assert!(dir.path().join("thesis.txt").exists());
}

#[tokio::test]
async fn a_directory_closed_to_the_server_account_works() {
    let closed = std::fs::Permissions::from_mode(0o700);
    let closed = tempfile::Builder::new()
        .permissions(closed)
        .tempdir()
        .unwrap();
    let mode = || {
        std::fs::metadata(closed.path())
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(), 0o700);
    let env = LocalEnv::start(&plain(&closed.path().join("data")), false)
        .await
        .unwrap();
    let client = connect(env.database_url()).await;
    client
        .batch_execute("create table kept (id int); checkpoint")
        .await
        .unwrap();
    env.stop().await.unwrap();
    assert_eq!(mode(), 0o700, "nobody else's directory is opened up");
}

#[tokio::test]
async fn a_broken_environment_is_reported() {
    let dir = open_dir();
    let options = plain(&dir.path().join("data"));
    let env = LocalEnv::start(&options, false).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(2_500), env.failed()).await;
    assert!(quiet.is_err(), "nothing is wrong yet: {quiet:?}");
    kill_process(postmaster(&options.data_dir).unwrap(), Signal::QUIT).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(10), env.failed())
        .await
        .unwrap();
    assert!(
        matches!(&error, LocalError::Node { node, tail, .. } if node == "node" && !tail.is_empty()),
        "{error}"
    );
    env.stop().await.unwrap();

    let env = LocalEnv::start(&options, false).await.unwrap();
    std::fs::remove_file(options.data_dir.join("lock")).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(10), env.failed())
        .await
        .unwrap();
    assert!(matches!(error, LocalError::LockLost { .. }), "{error}");
    let pid = postmaster(&options.data_dir).unwrap();
    drop(env);
    assert!(
        postmaster(&options.data_dir).is_none(),
        "a dropped environment stops its server ({pid:?})"
    );
}
