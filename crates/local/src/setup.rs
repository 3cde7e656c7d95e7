//! The few statements that make a cluster out of empty nodes. Everything here can run again.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::cluster::{API_USER, DATABASE, HOST, USER};
use crate::error::{LocalError, Result};
use crate::node::{Spec, Watcher};

/// Crash recovery after a kill may take its time.
const READY: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Waits until the node answers; fails as soon as its process ends.
pub(crate) async fn ready(node: &Watcher, password: &str) -> Result<Client> {
    let deadline = Instant::now() + READY;
    let answers = async {
        loop {
            match connect(&node.spec, "postgres", password).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => {
                    return Err(node.not_ready(&explain(&error)));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    };
    tokio::select! {
        client = answers => client,
        error = node.exited() => Err(error),
    }
}

/// The database and its extensions, on a node that is ready.
pub(crate) async fn database(
    maintenance: &Client,
    node: &Spec,
    password: &str,
    extensions: &[&str],
) -> Result<()> {
    let exists = maintenance
        .query_opt("select from pg_database where datname = $1", &[&DATABASE])
        .await
        .map_err(|error| setup_error(node, "look for the database", &error))?;
    if exists.is_none() {
        let sql = format!("create database {DATABASE}");
        run(node, maintenance, "create the database", &sql).await?;
    }
    let client = connect(node, DATABASE, password)
        .await
        .map_err(|error| setup_error(node, "connect to the database", &error))?;
    // Each node gets its own: a node that is not in the cluster yet has them as well, and none
    // waits for another.
    let local = "set citus.enable_ddl_propagation = off";
    for extension in extensions {
        let sql = format!("{local}; create extension if not exists {extension}");
        run(node, &client, "create an extension", &sql).await?;
    }
    // All speak over the loopback device, where encryption only costs. Citus switches it on by
    // itself.
    for sql in ["alter system set ssl = off", "select pg_reload_conf()"] {
        run(node, &client, "switch encryption off", sql).await?;
    }
    Ok(())
}

/// Tells the coordinator its own address and its workers'. Metadata reaches every worker, so that
/// any node answers.
pub(crate) async fn introduce(coordinator: &Spec, workers: &[Spec], password: &str) -> Result<()> {
    let client = connect(coordinator, DATABASE, password)
        .await
        .map_err(|error| setup_error(coordinator, "connect to the database", &error))?;
    let known = client
        .query("select nodeport from pg_dist_node", &[])
        .await
        .map_err(|error| setup_error(coordinator, "list the nodes", &error))?;
    let known: Vec<i32> = known.iter().map(|row| row.get(0)).collect();
    let own = coordinator.port;
    if !known.contains(&i32::from(own)) {
        let sql = format!("select citus_set_coordinator_host('{HOST}', {own})");
        run(coordinator, &client, "name the coordinator", &sql).await?;
    }
    for worker in workers {
        let port = worker.port;
        if !known.contains(&i32::from(port)) {
            let sql = format!("select citus_add_node('{HOST}', {port})");
            run(coordinator, &client, "add a worker", &sql).await?;
        }
    }
    if !workers.is_empty() {
        let sql =
            format!("select citus_set_node_property('{HOST}', {own}, 'shouldhaveshards', false)");
        let step = "keep shards off the coordinator";
        run(coordinator, &client, step, &sql).await?;
    }
    Ok(())
}

/// The API's login, with the group role that `sheaf migrate` grants its rights to. Citus makes both
/// on all nodes.
pub(crate) async fn api_login(first: &Spec, password: &str, api_password: &str) -> Result<()> {
    let client = connect(first, DATABASE, password)
        .await
        .map_err(|error| setup_error(first, "connect to the database", &error))?;
    let made = client
        .query("select rolname::text from pg_roles", &[])
        .await
        .map_err(|error| setup_error(first, "list the roles", &error))?;
    let missing = |name: &str| made.iter().all(|row| row.get::<_, &str>(0) != name);
    let step = "make the API's login";
    if missing("sheaf_api") {
        run(first, &client, step, "create role sheaf_api nologin").await?;
    }
    if missing(API_USER) {
        // The password is hexadecimal.
        let sql =
            format!("create role {API_USER} login password '{api_password}' in role sheaf_api");
        run(first, &client, step, &sql).await?;
    }
    Ok(())
}

async fn connect(
    node: &Spec,
    database: &str,
    password: &str,
) -> std::result::Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(HOST)
        .port(node.port)
        .user(USER)
        .password(password)
        .dbname(database);
    config
        .application_name("sheaf-local")
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = config.connect(NoTls).await?;
    // The connection ends with its client; its errors come out of the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

async fn run(node: &Spec, client: &Client, step: &'static str, sql: &str) -> Result<()> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| setup_error(node, step, &error))
}

fn setup_error(node: &Spec, step: &'static str, error: &tokio_postgres::Error) -> LocalError {
    LocalError::Setup {
        node: node.name.clone(),
        step,
        detail: explain(error),
    }
}

/// The driver's own text is only "db error"; the reason is in its source.
fn explain(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned())
}
