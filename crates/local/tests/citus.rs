//! A Citus cluster. The names start with `citus_`: without the extension these tests are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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
    // Any node answers for all: the workers know the shards of one another, and log in to one another.
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
