//! Against nodes of their own: with certificates of a CA of their own, without any, that are down,
//! that take no writes, and that take another's place.

mod node;
mod pki;
mod several;

use std::time::Duration;

use super::{Database, To};
use crate::admin::ClusterAdmin;
use crate::routing::shard::StatementSet;
use crate::{Cluster, Config, Error};
use node::{Server, connect, database, encrypt, is_encrypted, refusal, setting, until};
use pki::{Authority, Wanted};
use sheaf_local::{CitusMode, Throwaway};
use tokio_postgres::Client;

/// For the name, not for the address.
const NAMED: Wanted<'_> = Wanted {
    names: &["localhost"],
    addresses: &[],
    is_expired: false,
    is_old: false,
};

const LOGIN: &str = "all all all scram-sha-256";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_as_its_mode_says() {
    let server = Server::start().await;
    let (ours, others) = (Authority::new("our CA"), Authority::new("another CA"));
    let trusted = server.file("ours.pem", &ours.pem());
    let foreign = server.file("others.pem", &others.pem());
    let url = |host: &str, mode: &str| server.url(host, &format!("sslmode={mode}"));
    let with = |host: &str, mode: &str, roots: &str| {
        server.url(host, &format!("sslmode={mode}&sslrootcert={roots}"))
    };

    // A server without TLS.
    for mode in ["disable", "prefer"] {
        assert!(!is_encrypted(&url("localhost", mode)).await, "{mode}");
    }
    for strict in [
        url("localhost", "require"),
        with("localhost", "verify-ca", &trusted),
        with("localhost", "verify-full", &trusted),
    ] {
        let told = refusal(&strict, &server).await;
        assert!(told.contains("server does not support TLS"), "{told}");
    }

    // With a certificate of our CA.
    let over = server.plain().await;
    encrypt(&over, &ours.issue(NAMED)).await;
    assert!(!is_encrypted(&url("localhost", "disable")).await);
    assert!(
        is_encrypted(&server.url("localhost", "")).await,
        "by default"
    );
    for good in [
        url("localhost", "prefer"),
        url("localhost", "require"),
        url("127.0.0.1", "require"),
        with("127.0.0.1", "require", &trusted),
        with("127.0.0.1", "verify-ca", &trusted),
        with("localhost", "verify-full", &trusted),
        // The name is compared, whatever the address is.
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=sheaf password={} dbname=sheaf \
             sslmode = verify-full sslrootcert = '{trusted}'",
            server.port, server.password
        ),
        // The server looks at what the password is bound to.
        with("localhost", "verify-full", &trusted) + "&channel_binding=require",
        url("localhost", "require") + "&channel_binding=require",
    ] {
        assert!(is_encrypted(&good).await, "{good}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let told = refusal(&with("localhost", mode, &foreign), &server).await;
        let words = "the certificate of localhost is not signed by a CA of sslrootcert";
        assert!(told.contains(words), "{mode}: {told}");
    }
    let told = refusal(&with("127.0.0.1", "verify-full", &trusted), &server).await;
    let words = "the certificate of 127.0.0.1 is for another host: localhost";
    assert!(told.contains(words), "{told}");
    let system = server.url("localhost", "sslrootcert=system");
    let told = match Database::parse(&system) {
        // A machine without CAs.
        Err(refused) => refused,
        Ok(_) => refusal(&system, &server).await,
    };
    assert!(told.contains("sslrootcert"), "{told}");

    // Others that are not to be trusted, and are good enough where nobody looks.
    let expired = Wanted {
        is_expired: true,
        ..NAMED
    };
    let old = Wanted {
        is_old: true,
        ..NAMED
    };
    for (identity, words) in [
        (ours.issue(expired), "has expired"),
        (ours.issue(old), "cannot be used"),
        (ours.issue(Wanted::default()), "it has no subjectAltName"),
        (ours.itself(), "cannot be used"),
    ] {
        encrypt(&over, &identity).await;
        let told = refusal(&with("localhost", "verify-full", &trusted), &server).await;
        assert!(told.contains(words), "{words}: {told}");
        assert!(is_encrypted(&url("localhost", "require")).await, "{words}");
        let bound = url("localhost", "require") + "&channel_binding=require";
        assert!(is_encrypted(&bound).await, "{words}");
    }

    // What pg_hba.conf has lines for.
    encrypt(&over, &ours.issue(NAMED)).await;
    server.let_in(&[&format!("hostssl {LOGIN}")], &over).await;
    assert!(is_encrypted(&url("localhost", "prefer")).await);
    let told = refusal(&url("localhost", "disable"), &server).await;
    assert!(told.contains("no encryption"), "{told}");
    server.let_in(&[&format!("hostnossl {LOGIN}")], &over).await;
    assert!(!is_encrypted(&url("localhost", "prefer")).await);
    let told = refusal(&url("localhost", "require"), &server).await;
    assert!(told.contains("SSL encryption"), "{told}");
    let nobody = "hostssl all nobody all reject";
    server.let_in(&[nobody], &over).await;
    let told = refusal(&url("localhost", "prefer"), &server).await;
    assert!(
        told.contains("with TLS: ") && told.contains("without: "),
        "{told}"
    );
    server.home.stop().await.unwrap();
}

/// One table, without statements of its own.
const STATEMENTS: StatementSet = StatementSet {
    tables: &["invoices"],
    named_by: "invoices",
    make: |_, _| Vec::new(),
};

async fn cluster(url: &str) -> Result<Cluster, Error> {
    Cluster::connect(Config::new(url), STATEMENTS).await
}

/// What administration counts.
async fn make_tenants(over: &Client) {
    let table = "create table tenants (id uuid primary key, name text)";
    over.batch_execute(table).await.unwrap();
}

/// Sessions that are encrypted, and sessions that are not, but for those of the node itself.
async fn sessions(over: &Client) -> (i64, i64) {
    let sql = "select count(*) filter (where s.ssl), count(*) filter (where not s.ssl) from \
               pg_stat_ssl s \
               join pg_stat_activity a using (pid) where a.client_port > 0 and a.pid <> \
               pg_backend_pid()";
    let row = over.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_connects_is_encrypted_and_a_certificate_that_is_not_trusted_is_told() {
    let server = Server::start().await;
    let ours = Authority::new("our CA");
    let trusted = server.file("ours.pem", &ours.pem());
    let over = server.plain().await;
    encrypt(&over, &ours.issue(NAMED)).await;
    server.let_in(&[&format!("hostssl {LOGIN}")], &over).await;
    let url = server.url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={trusted}"),
    );
    make_tenants(&over).await;
    let nodes = cluster(&url).await.unwrap();
    nodes.ready().await.unwrap();
    let admin = ClusterAdmin::connect(&url).await.unwrap();
    let status = admin.status().await.unwrap();
    assert_eq!(status.nodes.len(), 1);
    let (encrypted, plain) = sessions(&over).await;
    assert!(encrypted > 1, "{encrypted}");
    assert_eq!(plain, 0);

    let others = Authority::new("another CA");
    let foreign = server.file("others.pem", &others.pem());
    let url = server.url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={foreign}"),
    );
    let words = "is not signed by a CA of sslrootcert";
    let Err(error @ Error::Unavailable { .. }) = cluster(&url).await else {
        panic!("it connects");
    };
    assert!(error.to_string().contains(words), "{error}");
    let refused = ClusterAdmin::connect(&url).await;
    let told = refused.err().expect("it connects").to_string();
    assert!(told.contains(words), "{told}");
    let invalid = server.url("localhost", "sslmode=sometimes");
    let Err(Error::Config(told)) = cluster(&invalid).await else {
        panic!("it connects");
    };
    assert!(told.contains("sslmode may be disable"), "{told}");
    nodes.close();
    server.home.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_cancelled_ends_on_the_server() {
    let server = Server::start().await;
    let ours = Authority::new("our CA");
    let trusted = server.file("ours.pem", &ours.pem());
    let over = server.plain().await;
    encrypt(&over, &ours.issue(NAMED)).await;
    server.let_in(&[&format!("hostssl {LOGIN}")], &over).await;
    let database = database(&server.url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={trusted}"),
    ));
    let running = async || -> i64 {
        let sql = "select count(*) from pg_stat_activity where state = 'active' and query like \
                   'select pg_sleep%'";
        over.query_one(sql, &[]).await.unwrap().get(0)
    };
    let (client, _) = database
        .connect(To::Url, &tokio_postgres::Config::new())
        .await
        .unwrap();
    // A request that is lost at times is lost in some of so many.
    for round in 0..20 {
        let token = client.cancel_token();
        let statement = client.batch_execute("select pg_sleep(600)");
        let stopped = async {
            until("it runs", async || running().await == 1).await;
            database.cancel(&token).await.unwrap();
        };
        let both = async { tokio::join!(statement, stopped) };
        let both = tokio::time::timeout(Duration::from_secs(60), both).await;
        let (ended, ()) = both.unwrap_or_else(|_| panic!("round {round}: it goes on"));
        let code = ended.unwrap_err().code().cloned();
        assert_eq!(code.unwrap().code(), "57014");
        until("it has ended", async || running().await == 0).await;
    }
    server.home.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_trusted_as_the_url_says_by_the_names_that_citus_has_for_them() {
    let home = Throwaway::with_workers(CitusMode::Auto, Some(1))
        .await
        .unwrap();
    let urls = home.env().node_urls().to_vec();
    let server = Server::over(home);
    let (ours, others) = (Authority::new("our CA"), Authority::new("another CA"));
    let trusted = server.file("ours.pem", &ours.pem());
    let addressed = Wanted {
        addresses: &[[127, 0, 0, 1]],
        ..NAMED
    };
    for url in &urls {
        encrypt(&node::plain(url).await, &ours.issue(addressed)).await;
    }
    let url = server.url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={trusted}"),
    );
    if server.home.env().is_citus() {
        let over = node::plain(&urls[0]).await;
        over.batch_execute(
            "create table invoices (tenant_id uuid); \
             select create_distributed_table('invoices', 'tenant_id', shard_count => 4)",
        )
        .await
        .unwrap();
    }
    let nodes = cluster(&url).await.unwrap();
    let tenant = sheaf_model::TenantId(uuid::Uuid::now_v7());
    let owner = nodes.owner(tenant);
    let conn = owner.get().await.unwrap();
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert!(conn.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
    let port: u16 = setting(&conn, "port").await.parse().unwrap();
    drop(conn);
    if server.home.env().is_citus() {
        assert_ne!(port, server.port, "the worker has the shards");
        // A worker that somebody else stands in for.
        let worker = node::plain(&urls[1]).await;
        encrypt(&worker, &others.issue(addressed)).await;
        let nodes = cluster(&url).await.unwrap();
        let refused = nodes.owner(tenant).get().await;
        let told = refused.expect_err("it is trusted").to_string();
        let words = format!(
            "127.0.0.1:{port}: error performing TLS handshake: the certificate of 127.0.0.1 is \
             not signed"
        );
        assert!(told.contains(&words), "{told}");
        // The coordinator is still itself.
        assert!(nodes.coordinator().get().await.is_ok());
    }
    let _ = connect(&url).await.unwrap();
    server.home.stop().await.unwrap();
}
