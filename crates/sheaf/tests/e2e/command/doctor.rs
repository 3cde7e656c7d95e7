//! `sheaf doctor` on what is well, and on what is broken in one way each.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use sheaf_local::CitusMode;
use tokio_postgres::NoTls;

use crate::command::cluster::{Rig, port_of};
use crate::process::{Done, Place, Up, sheaf};

/// Lines of what is not well, but for disks: how full they are here is not for a test to say.
fn wrong(done: &Done) -> Vec<String> {
    let lines = done.stdout.lines().filter(|line| {
        let is_wrong = line.starts_with("warn ") || line.starts_with("fail ");
        is_wrong && !line[6..].starts_with("disk ")
    });
    lines.map(str::to_owned).collect()
}

/// Asserts that this is the one thing that is wrong.
#[track_caller]
fn assert_only(done: &Done, start: &str, words: &str) {
    let wrong = wrong(done);
    assert!(
        matches!(wrong.as_slice(), [line] if line.starts_with(start) && line.contains(words)),
        "{start} … {words}: {done:?}"
    );
    assert_eq!(done.code, Some(i32::from(start.starts_with("fail"))));
}

/// The settings of `sheaf serve` beside those that `sheaf up` wrote.
fn doctor(up: &Up) -> Command {
    let mut command = up.command(&["doctor"]);
    let metrics = up.env["SHEAF_METRICS_URL"].replace("http://", "");
    command
        .env("SHEAF_LISTEN", up.env["SHEAF_URL"].replace("http://", ""))
        .env("SHEAF_METRICS_LISTEN", metrics.replace("/metrics", ""))
        .env("SHEAF_SPOOL", "1MiB");
    command
}

fn with(up: &Up, name: &str, value: &str) -> Done {
    Done::of(doctor(up).env(name, value))
}

#[test]
fn a_plain_environment_and_its_faults() {
    let place = Place::new();
    let up = Up::start(&place, 0);
    let well = Done::of(&mut doctor(&up));
    assert_eq!((well.code, wrong(&well)), (Some(0), Vec::new()), "{well:?}");
    for line in [
        "ok    admin key: ",
        "ok    port of the API 127.0.0.1:",
        "ok    schema: version ",
        "ok    owner: sheaf, a superuser",
        "ok    role sheaf_api: there",
        "ok    s3 if-none-match ",
        "ok    s3 delete ",
        // Whether the server has the extension is not for this test to say.
        "one plain node, to which no workers can be added",
    ] {
        assert!(well.stdout.contains(line), "{line}: {well:?}");
    }
    assert_eq!(
        well.stdout.matches("taken by a Sheaf that runs").count(),
        2,
        "{well:?}"
    );
    for secret in [
        "SHEAF_ADMIN_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
    ] {
        assert!(!well.stdout.contains(&up.env[secret]), "{secret}");
    }
    let json = Done::of(doctor(&up).arg("--json")).json();
    assert_eq!(json["fail"], 0, "{json}");
    assert_eq!(json["findings"][0]["check"], "admin key", "{json}");
    // Nothing is left in the bucket.
    let objects = place
        .data()
        .join("s3")
        .join(&up.env["SHEAF_S3_BUCKET"])
        .join("sheaf-doctor");
    let left = Command::new("find")
        .arg(&objects)
        .args(["-type", "f"])
        .output()
        .unwrap();
    assert!(left.stdout.is_empty(), "{left:?}");

    broken_databases(&up);
    broken_storages(&up);
    broken_machines(&up);
}

fn broken_databases(up: &Up) {
    let url = up.env["SHEAF_DATABASE_URL"].as_str();
    let (login, server) = url.split_once('@').unwrap();
    let user = login.rsplit_once(':').unwrap().0;
    let wrong_password = with(up, "SHEAF_DATABASE_URL", &format!("{user}:wr0ng@{server}"));
    assert_only(
        &wrong_password,
        "fail  postgresql 127.0.0.1:",
        "the user or the password of the URL is wrong",
    );
    assert!(
        !wrong_password.stdout.contains("wr0ng"),
        "{wrong_password:?}"
    );

    let refused = with(
        up,
        "SHEAF_DATABASE_URL",
        &format!("{login}@127.0.0.1:9/sheaf"),
    );
    assert_only(
        &refused,
        "fail  postgresql 127.0.0.1:9: ",
        "start PostgreSQL there",
    );

    // One that lets us in and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let began = Instant::now();
    let mut hung = doctor(up);
    hung.args(["--timeout", "1s"])
        .env("SHEAF_DATABASE_URL", format!("{login}@{at}/sheaf"));
    assert_only(
        &Done::of(&mut hung),
        &format!("fail  postgresql {at}: no answer in 1 s"),
        "it hangs",
    );
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );

    // A host beside it is found, and asked.
    let two = with(up, "SHEAF_DATABASE_URL", &url.replace('@', "@127.0.0.1:9,"));
    assert_only(&two, "fail  postgresql 127.0.0.1:9: ", "refused");
    assert!(two.stdout.contains("ok    schema: "), "{two:?}");

    let not_a_url = with(up, "SHEAF_DATABASE_URL", "postgres://u:s3cret@h/d?sslmod=x");
    assert_only(&not_a_url, "fail  database: ", "unknown parameter");
    assert!(!not_a_url.stdout.contains("s3cret"), "{not_a_url:?}");

    sql(url, "create database old");
    let old = format!("{}/old", url.rsplit_once('/').unwrap().0);
    let empty = with(up, "SHEAF_DATABASE_URL", &old);
    assert_only(&empty, "fail  schema: there is none", "run `sheaf migrate`");
    let migrated = Done::of(up.command(&["migrate"]).env("SHEAF_DATABASE_URL", &old)).json();
    let newest = migrated["schema_version"].as_i64().unwrap();
    sql(
        &old,
        &format!("delete from refinery_schema_history where version = {newest}"),
    );
    let behind = with(up, "SHEAF_DATABASE_URL", &old);
    assert_only(
        &behind,
        "fail  schema: the database has schema version ",
        "run `sheaf migrate`",
    );

    // An API's login that was granted nothing, and one that owns everything.
    sql(url, "create role stranger login password 'p'");
    let stranger = format!("postgres://stranger:p@{server}");
    let done = with(up, "SHEAF_API_DATABASE_URL", &stranger);
    assert_only(
        &done,
        "fail  api login: stranger lacks ",
        "grant sheaf_api to stranger",
    );
    let done = with(up, "SHEAF_API_DATABASE_URL", url);
    assert_only(
        &done,
        "warn  api login: sheaf may change events",
        "member of sheaf_api",
    );
}

fn broken_storages(up: &Up) {
    let down = with(up, "SHEAF_S3_ENDPOINT", "http://127.0.0.1:9");
    assert_only(&down, "fail  s3 bucket http://127.0.0.1:9: ", "refused");
    assert!(!down.stdout.contains("DispatchFailure"), "{down:?}");
    let missing = with(up, "SHEAF_S3_BUCKET", "nowhere");
    assert_only(
        &missing,
        "fail  s3 bucket ",
        "bucket nowhere: it does not exist",
    );
    let key = with(up, "AWS_SECRET_ACCESS_KEY", "an0ther");
    assert_only(&key, "fail  s3 bucket ", "AWS_SECRET_ACCESS_KEY");
    assert!(!key.stdout.contains("an0ther"), "{key:?}");
}

fn broken_machines(up: &Up) {
    let short = with(up, "SHEAF_ADMIN_KEY", "t00short");
    assert_only(
        &short,
        "fail  admin key: SHEAF_ADMIN_KEY has 8 characters",
        "at least 16",
    );
    assert!(!short.stdout.contains("t00short"), "{short:?}");
    let spool = with(up, "SHEAF_SPOOL_DIR", "/there/is/none");
    assert_only(
        &spool,
        "fail  spool directory /there/is/none: ",
        "SHEAF_SPOOL_DIR",
    );
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = stranger.local_addr().unwrap().to_string();
    let mut taken = doctor(up);
    taken.args(["--timeout", "1s"]).env("SHEAF_LISTEN", &at);
    let start = format!("fail  port of the API {at}: taken by another program");
    assert_only(&Done::of(&mut taken), &start, "SHEAF_LISTEN");
    let jwt = with(up, "SHEAF_JWT_AUDIENCE", "a");
    assert_only(&jwt, "fail  jwt: ", "SHEAF_JWT_ISSUER is not set");
}

#[test]
fn without_any_setting_it_says_which() {
    let bare = Done::of(sheaf().arg("doctor"));
    assert_eq!(bare.code, Some(1), "{bare:?}");
    for line in [
        "warn  admin key: SHEAF_ADMIN_KEY is not set; ",
        "fail  database: SHEAF_DATABASE_URL is not set; ",
        "fail  s3: SHEAF_S3_BUCKET is not set; ",
        "ok    PostgreSQL for `sheaf up`: version ",
        "ok    Citus for `sheaf up`: ",
    ] {
        assert!(bare.stdout.contains(line), "{line}: {bare:?}");
    }
    let help = Done::of(sheaf().args(["doctor", "--help"]));
    assert!(help.stdout.contains("1  something fails"), "{help:?}");
}

#[test]
fn citus_a_cluster_and_its_faults() {
    let rig = Rig::start_with(CitusMode::Require, 2, "2");
    let doctor = || {
        let mut command = rig.command(&["doctor", "--timeout", "10s"]);
        command
            .env("SHEAF_API_DATABASE_URL", rig.local.api_database_url())
            .env("SHEAF_LISTEN", "127.0.0.1:0")
            .env("SHEAF_METRICS_LISTEN", "off")
            .env("SHEAF_SPOOL", "1MiB");
        Done::of(&mut command)
    };
    let well = doctor();
    assert_eq!((well.code, wrong(&well)), (Some(0), Vec::new()), "{well:?}");
    let nodes: Vec<String> = { rig.local.node_urls() }
        .iter()
        .map(|url| format!("127.0.0.1:{}", port_of(url)))
        .collect();
    for (at, node) in nodes.iter().enumerate() {
        let part = match at {
            0 => format!("ok    coordinator {node}: active, with metadata, holds no shards"),
            _ => format!("ok    worker {node}: active, with metadata, may hold shards"),
        };
        for line in [
            format!("ok    postgresql {node}: "),
            format!("ok    citus {node}: 13.2.0"),
            format!("ok    cluster settings {node}: shared_preload_libraries = citus"),
            format!("ok    api login {node}: let in"),
            part,
        ] {
            assert!(well.stdout.contains(&line), "{line}: {well:?}");
        }
    }
    for line in [
        "ok    tables: all are distributed",
        "ok    logins between nodes: ",
        "ok    api login: sheaf_app may do what the API does",
    ] {
        assert!(well.stdout.contains(line), "{line}: {well:?}");
    }

    // A setting of one worker, for this database; it does not travel.
    let on_worker = |statement: &str| {
        let url = &rig.local.node_urls()[2];
        rig.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let local = "set citus.enable_ddl_propagation = off";
            client.batch_execute(local).await.unwrap();
            client.batch_execute(statement).await.unwrap();
        });
    };
    on_worker("alter database sheaf set citus.stat_tenants_track = 'none'");
    let start = format!("warn  citus.stat_tenants_track {}: none", nodes[2]);
    assert_only(&doctor(), &start, "alter system set");
    on_worker("alter database sheaf reset citus.stat_tenants_track");

    // A worker that takes few connections, told by what the API is to open.
    let mut greedy = rig.command(&["doctor"]);
    greedy.env("SHEAF_MAX_CONNECTIONS_PER_NODE", "300");
    let greedy = Done::of(&mut greedy);
    let start = format!("fail  max_connections {}: 200", nodes[2]);
    assert!(
        greedy.code == Some(1) && greedy.stdout.contains(&start),
        "{greedy:?}"
    );

    rig.runtime.block_on(rig.local.stop_node(2)).unwrap();
    let down = doctor();
    assert_eq!(down.code, Some(1));
    let down = wrong(&down);
    let of_worker = |check: &str| {
        down.iter()
            .any(|line| line.starts_with(&format!("fail  {check} {}: ", nodes[2])))
    };
    assert!(
        of_worker("postgresql") && of_worker("api login"),
        "{down:?}"
    );
    // The others are as they were.
    let others = down
        .iter()
        .filter(|line| line.contains(&nodes[0]) && !line.contains(&nodes[2]));
    assert!(
        others.clone().all(|line| line.contains("cannot log in to")),
        "{down:?}"
    );
}

fn sql(url: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statement).await.unwrap();
    });
}
