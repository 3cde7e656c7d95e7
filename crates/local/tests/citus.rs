//! A Citus cluster. The names start with `citus_`: without the extension these tests are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sheaf_local::{CitusMode, LocalEnv, LocalError, Options};
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn citus_cluster_restarts_with_its_nodes_and_moves_shards() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        citus: CitusMode::Require,
        ..Options::default()
    };
    let env = LocalEnv::start(&options, false).await.unwrap();
    assert!(env.is_citus());
    assert_eq!((env.workers(), env.node_urls().len()), (2, 3));
    let client = connect(env.database_url()).await;
    client
        .batch_execute(
            "set citus.shard_count = 4;
             create table kept (tenant_id int primary key);
             select create_distributed_table('kept', 'tenant_id');
             insert into kept select generate_series(1, 1000);",
        )
        .await
        .unwrap();
    let with_shards =
        "select count(*) from pg_dist_node where shouldhaveshards and isactive and metadatasynced";
    assert_eq!(
        number(&client, with_shards).await,
        2,
        "the coordinator holds no shards"
    );
    let before = env.node_urls().to_vec();
    env.stop().await.unwrap();

    let fewer = Options {
        workers: Some(1),
        ..options.clone()
    };
    let error = LocalEnv::start(&fewer, false).await.unwrap_err();
    assert!(matches!(error, LocalError::Topology { .. }), "{error}");

    let env = LocalEnv::start(&options, false).await.unwrap();
    assert_eq!(env.node_urls(), before);
    let client = connect(env.database_url()).await;
    assert_eq!(
        number(&client, "select count(*) from pg_dist_node").await,
        3
    );
    // Any node answers for all: the workers know the shards of one another, and log in to one
    // another.
    for url in env.node_urls() {
        assert_eq!(
            number(&connect(url).await, "select count(*) from kept").await,
            1000
        );
    }
    client
        .batch_execute(
            "select citus_move_shard_placement(shardid, '127.0.0.1', nodeport,
                 '127.0.0.1', (select nodeport from pg_dist_node
                               where shouldhaveshards and nodeport <> shard.nodeport),
                 shard_transfer_mode => 'force_logical')
             from (select shardid, nodeport from citus_shards order by shardid limit 1) shard",
        )
        .await
        .unwrap();
    assert_eq!(number(&client, "select count(*) from kept").await, 1000);
    env.stop().await.unwrap();
}

async fn names(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn citus_nodes_come_and_go_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        citus: CitusMode::Require,
        workers: Some(1),
        ..Options::default()
    };
    let env = LocalEnv::start(&options, false).await.unwrap();
    let added = env.add_worker().await.unwrap();
    assert_eq!(added.index, 2);
    let worker = connect(&added.url).await;
    let extensions = names(&worker, "select extname::text from pg_extension order by 1").await;
    assert!(extensions.contains(&"citus".to_owned()), "{extensions:?}");
    let nodes = "select count(*) from pg_dist_node";
    let client = connect(env.database_url()).await;
    assert_eq!(number(&client, nodes).await, 2, "Citus was not told");

    // What is done by hand is no failure; what happens by itself is.
    {
        let mut failed = std::pin::pin!(env.failed());
        env.kill_node(1).await.unwrap();
        env.stop_node(0).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(300), &mut failed).await;
        assert!(quiet.is_err(), "{quiet:?}");
        for url in [&env.node_urls()[0], &env.node_urls()[1]] {
            assert!(tokio_postgres::connect(url, NoTls).await.is_err());
        }
        env.start_node(1).await.unwrap();
        env.start_node(0).await.unwrap();
        env.start_node(0).await.unwrap();
        for url in env.node_urls() {
            assert_eq!(number(&connect(url).await, nodes).await, 2);
        }
        let pid_file = env.data_dir().join("pg/worker-2/postmaster.pid");
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let pid = Pid::from_raw(pid.lines().next().unwrap().parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let error = tokio::time::timeout(Duration::from_secs(10), failed)
            .await
            .unwrap();
        assert!(
            matches!(&error, LocalError::Node { node, .. } if node == "worker-2"),
            "{error}"
        );
    }
    let missing = env.kill_node(3).await.unwrap_err();
    assert!(
        matches!(missing, LocalError::NoSuchNode { index: 3, .. }),
        "{missing}"
    );
    env.stop().await.unwrap();

    // The next start finds the worker, and leaves it to the cluster's own commands who is in.
    let again = Options {
        workers: None,
        ..options
    };
    let env = LocalEnv::start(&again, false).await.unwrap();
    assert_eq!(env.node_urls()[2], added.url);
    connect(&added.url).await;
    let client = connect(env.database_url()).await;
    assert_eq!(number(&client, nodes).await, 2);
    env.stop().await.unwrap();
}
