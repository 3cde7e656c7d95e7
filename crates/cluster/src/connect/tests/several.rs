//! Several hosts: one is down, one takes no writes, one takes another's place.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use sheaf_model::TenantId;
use uuid::Uuid;

use super::node::{Server, connect, own, setting, until};
use super::{cluster, make_tenants};
use crate::admin::ClusterAdmin;
use crate::{Cluster, Config, Error};

/// A URL of several ports, in this order.
fn url(server: &Server, ports: &[u16]) -> String {
    let hosts: Vec<_> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let (password, hosts) = (&server.password, hosts.join(","));
    format!("postgres://sheaf:{password}@{hosts}/sheaf?target_session_attrs=read-write")
}

/// The port of the node that a URL leads to.
async fn reached(url: &str) -> u16 {
    let (client, _) = connect(url)
        .await
        .unwrap_or_else(|failed| panic!("{failed:?}"));
    setting(&client, "port").await.parse().unwrap()
}

/// Makes a tenant, as a request does that may be run again.
async fn new(nodes: &Cluster) -> Result<TenantId, Error> {
    let tenant = TenantId(Uuid::now_v7());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let made = async {
            let conn = nodes.coordinator().get().await?;
            let sql = "insert into tenants values ($1, 'test') on conflict do nothing";
            conn.execute(sql, &[&tenant.0]).await?;
            Ok(tenant)
        };
        match made.await {
            Err(Error::Unavailable { .. }) if attempt < 4 => {
                tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
                nodes.reroute().await;
            }
            made => return made,
        }
    }
}

async fn has(over: &Client, tenant: TenantId) -> bool {
    let sql = "select from tenants where id = $1";
    match over.query_opt(sql, &[&tenant.0]).await {
        Ok(found) => found.is_some(),
        // A standby gets the table a moment later.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Makes tenants until one is made: how long that took, and which.
async fn after_failover(nodes: &Cluster) -> (Duration, TenantId) {
    let began = Instant::now();
    loop {
        let error = match new(nodes).await {
            Ok(tenant) => return (began.elapsed(), tenant),
            Err(error) => error,
        };
        // A request of that moment may fail, and says so in the way that is tried again.
        let is_brief = matches!(error, Error::Unavailable { .. });
        assert!(
            is_brief && began.elapsed() < Duration::from_secs(30),
            "no host is found: {error}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Both nodes with a table and one password, as if they were one database.
async fn pair() -> (Server, Server) {
    let (mut one, two) = tokio::join!(Server::start(), Server::start());
    one.take_password(&two.password).await;
    for server in [&one, &two] {
        make_tenants(&server.plain().await).await;
    }
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_takes_writes_is_found() {
    let (one, two) = pair().await;
    let both = url(&two, &[one.port, two.port]);
    assert_eq!(reached(&both).await, one.port, "the first that does");

    // One that is not there, and one that says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().port();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_port = gone.local_addr().unwrap().port();
    drop(gone);
    assert_eq!(reached(&url(&two, &[gone_port, two.port])).await, two.port);
    let began = Instant::now();
    assert_eq!(reached(&url(&two, &[silent, two.port])).await, two.port);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Whoever gives up before the silent one is passed over leaves the next one better off.
    let mut config = Config::new(url(&two, &[silent, gone_port, two.port]));
    config.acquire_timeout = Duration::from_millis(1_500);
    let database = super::database(&config.database_url);
    let settings = tokio_postgres::Config::new();
    for is_patient in [false, true] {
        let connecting = database.connect(super::To::Url, &settings);
        let connected = tokio::time::timeout(config.acquire_timeout, connecting).await;
        assert_eq!(connected.is_ok(), is_patient);
    }

    // One that takes no writes.
    one.takes_writes(false).await;
    assert_eq!(reached(&both).await, two.port);
    let admin = ClusterAdmin::connect(&both).await.unwrap();
    let status = admin.status().await.unwrap();
    assert_eq!(status.nodes[0].node.port, two.port, "it says which");
    two.takes_writes(false).await;
    let told = super::refusal(&both, &two).await;
    for words in [
        "no host of the database lets in a session that can write".to_owned(),
        format!(
            "127.0.0.1:{}: error connecting to server: database does not allow writes",
            one.port
        ),
        format!("127.0.0.1:{}: ", two.port),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    // One host may be asked for what it can, unless the URL wants more.
    assert_eq!(reached(&one.url("127.0.0.1", "")).await, one.port);
    let told = super::refusal(
        &one.url("127.0.0.1", "target_session_attrs=read-write"),
        &one,
    )
    .await;
    assert!(told.contains("database does not allow writes"), "{told}");
    one.home.stop().await.unwrap();
    two.home.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_follows_the_writes_to_another_host() {
    let (one, two) = pair().await;
    two.takes_writes(false).await;
    let nodes = cluster(&url(&two, &[one.port, two.port])).await.unwrap();
    // Several connections, all of which have to end.
    for made in futures_util::future::join_all((0..8).map(|_| new(&nodes))).await {
        assert!(has(&one.plain().await, made.unwrap()).await);
    }
    one.takes_writes(false).await;
    two.takes_writes(true).await;
    let (took, tenant) = after_failover(&nodes).await;
    assert!(has(&two.plain().await, tenant).await);
    eprintln!("the writes were found again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // And no connection is left that leads to the other one.
    for _ in 0..20 {
        let tenant = new(&nodes).await.unwrap();
        assert!(has(&two.plain().await, tenant).await);
    }
    nodes.close();
    one.home.stop().await.unwrap();
    two.home.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_passed_over_until_it_is_promoted() {
    let (mut primary, standby) = tokio::join!(Server::start(), Server::start());
    primary.take_password(&standby.password).await;
    let over = primary.plain().await;
    become_standby(&standby, &primary, &over).await;
    let stands_by = standby.plain().await;
    assert_eq!(setting(&stands_by, "in_hot_standby").await, "on");

    let both = url(&standby, &[standby.port, primary.port]);
    make_tenants(&over).await;
    let nodes = cluster(&both).await.unwrap();
    let before = new(&nodes).await.unwrap();
    until("it is copied", async || has(&stands_by, before).await).await;
    drop(over);
    primary.home.env().kill_node(0).await.unwrap();
    stands_by.execute("select pg_promote()", &[]).await.unwrap();
    let (took, after) = after_failover(&nodes).await;
    eprintln!("a promoted standby was found after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(has(&stands_by, before).await && has(&stands_by, after).await);
    assert_eq!(reached(&both).await, standby.port);
    nodes.close();
    standby.home.stop().await.unwrap();
    primary.home.stop().await.unwrap();
}

/// Puts a copy of a running node in another one's place, which follows it from then on.
async fn become_standby(standby: &Server, primary: &Server, over: &Client) {
    let stopped = standby.plain().await;
    let to = PathBuf::from(setting(&stopped, "data_directory").await);
    let from = PathBuf::from(setting(over, "data_directory").await);
    drop(stopped);
    standby.home.env().stop_node(0).await.unwrap();
    let account = fs::metadata(&to).unwrap();
    fs::remove_dir_all(&to).unwrap();
    over.execute("select pg_backup_start('copy', true)", &[])
        .await
        .unwrap();
    copy(&from, &to);
    let label = over
        .query_one("select labelfile from pg_backup_stop(false)", &[])
        .await;
    let Server { port, password, .. } = primary;
    let follow = format!(
        "primary_conninfo = 'host=127.0.0.1 port={port} user=sheaf password={password} \
         sslmode=disable'\n"
    );
    own(&to, "backup_label", label.unwrap().get(0));
    own(&to, "standby.signal", "");
    own(&to, "postgresql.auto.conf", &follow);
    give(&to, account.uid(), account.gid());
    standby.home.env().start_node(0).await.unwrap();
}

/// Copies all but the log of changes, which is sent, and what belongs to the running server. Files
/// may go meanwhile.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    if from.file_name().is_some_and(|name| name == "pg_wal") {
        return;
    }
    for entry in fs::read_dir(from).unwrap() {
        let (entry, of_server) = (entry.unwrap(), ["postmaster.pid", "postmaster.opts"]);
        let target = to.join(entry.file_name());
        if of_server.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), &target) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{entry:?}");
        }
    }
}

fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid, gid);
        }
    }
}
