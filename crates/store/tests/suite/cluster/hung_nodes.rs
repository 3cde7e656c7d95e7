//! A node that takes connections and answers nothing: it is waited for once, and asked last from
//! then on.

use std::time::{Duration, Instant};

use sheaf_local::{CitusMode, Throwaway};
use sheaf_store::{Store, StoreConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::NoTls;

/// How long a node is waited for where nobody else knows.
const ACQUIRE: Duration = Duration::from_secs(60);
/// Longer than all of it takes, and less than one wait for the node.
const SOON: Duration = Duration::from_secs(30);

/// Passes bytes on, but for as long as it is told to hang.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut hangs: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if hangs.wait_for(|hangs| !hangs).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

/// A door to a port of this machine; its own port.
async fn door(to: u16, hangs: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
                continue;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass(from_client, to_server, hangs.clone()));
            tokio::spawn(pass(from_server, to_client, hangs.clone()));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn citus_a_node_that_hangs_is_asked_last_and_readiness_does_not_wait_for_it() {
    let cluster = Throwaway::start(CitusMode::Require).await.unwrap();
    let url = cluster.env().database_url().to_owned();
    let (db, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let worker = "select nodeid, nodename, nodeport from pg_dist_node where groupid <> 0 order by \
        nodeid limit 1";
    let worker = db.query_one(worker, &[]).await.unwrap();
    let (id, name): (i32, String) = (worker.get(0), worker.get(1));
    let to = u16::try_from(worker.get::<_, i32>(2)).unwrap();
    let (hang, hangs) = watch::channel(false);
    let port = i32::from(door(to, hangs).await);
    db.query("select citus_update_node($1, $2, $3)", &[&id, &name, &port])
        .await
        .unwrap();
    sheaf_store::migrate(&url, 8).await.unwrap();
    let mut config = StoreConfig::new(url);
    config.cluster.acquire_timeout = ACQUIRE;
    let store = Store::connect(config).await.unwrap();
    // All nodes are known, and each has connections.
    for n in 0..16 {
        assert!(store.find_api_key(&[n; 32]).await.unwrap().is_none());
    }
    hang.send_replace(true);
    let asked = async {
        for n in 0..16 {
            assert!(store.find_api_key(&[n; 32]).await.unwrap().is_none());
            store.ready().await.unwrap();
        }
    };
    let started = Instant::now();
    tokio::time::timeout(SOON, asked)
        .await
        .expect("it is waited for each time");
    eprintln!("16 times with a node that hangs: {:?}", started.elapsed());
    hang.send_replace(false);
    store.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn citus_a_coordinator_that_hangs_holds_up_no_look_up() {
    let cluster = Throwaway::start(CitusMode::Require).await.unwrap();
    let url = cluster.env().database_url().to_owned();
    sheaf_store::migrate(&url, 8).await.unwrap();
    let to = url.parse::<tokio_postgres::Config>().unwrap().get_ports()[0];
    let (hang, hangs) = watch::channel(false);
    let port = door(to, hangs).await;
    let through = url.replace(&format!(":{to}/"), &format!(":{port}/"));
    assert_ne!(through, url);
    let mut config = StoreConfig::new(through);
    config.cluster.acquire_timeout = ACQUIRE;
    let store = Store::connect(config).await.unwrap();
    for n in 0..16 {
        assert!(store.find_api_key(&[n; 32]).await.unwrap().is_none());
    }
    hang.send_replace(true);
    // Keys that no worker has: the coordinator would be the first to have them.
    let asked = async {
        for n in 0..8 {
            assert!(store.find_api_key(&[n; 32]).await.unwrap().is_none());
        }
    };
    let started = Instant::now();
    let answered = tokio::time::timeout(SOON, asked).await;
    answered.expect("the coordinator is waited for");
    eprintln!(
        "8 times with a coordinator that hangs: {:?}",
        started.elapsed()
    );
    hang.send_replace(false);
    store.close().await;
    cluster.stop().await.unwrap();
}
