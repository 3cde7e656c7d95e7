//! A PostgreSQL node of a test's own, whose encryption, logins and readiness to write are the
//! test's to say.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sheaf_local::{CitusMode, Throwaway};
use tokio_postgres::{Client, Config, NoTls};

use super::super::{Connected, Database, Failed, To};
use super::pki::Issued;

/// How long a node may take to do as it was told.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Server {
    pub(super) home: Throwaway,
    pub(super) password: String,
    pub(super) port: u16,
}

impl Server {
    /// One plain node.
    pub(super) async fn start() -> Self {
        Self::over(Throwaway::start(CitusMode::Off).await.unwrap())
    }

    /// The first node of an environment.
    pub(super) fn over(home: Throwaway) -> Self {
        let config: Config = home.env().database_url().parse().unwrap();
        Self {
            password: String::from_utf8(config.get_password().unwrap().to_vec()).unwrap(),
            port: config.get_ports()[0],
            home,
        }
    }

    /// A URL by this name of the host.
    pub(super) fn url(&self, host: &str, parameters: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://sheaf:{password}@{host}:{port}/sheaf?{parameters}")
    }

    /// A plain connection, as long as the node lets one in.
    pub(super) async fn plain(&self) -> Client {
        plain(&self.url("127.0.0.1", "sslmode=disable")).await
    }

    /// A path to where a node of this test's may read.
    pub(super) fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.env().data_dir().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Lets in whoever has a line for it.
    pub(super) async fn let_in(&self, lines: &[&str], over: &Client) {
        let file = setting(over, "hba_file").await;
        fs::write(file, lines.join("\n") + "\n").unwrap();
        reload(over).await;
    }

    /// Lets its owner in by another password.
    pub(super) async fn take_password(&mut self, password: &str) {
        let sql = format!("alter role sheaf password '{password}'");
        self.plain().await.batch_execute(&sql).await.unwrap();
        self.password = password.to_owned();
    }

    /// Whether sessions that begin from now on take writes, by default.
    pub(super) async fn takes_writes(&self, takes: bool) {
        let over = self.plain().await;
        let off = if takes { "off" } else { "on" };
        let set = format!("alter system set default_transaction_read_only = {off}");
        over.batch_execute(&set).await.unwrap();
        reload(&over).await;
        until("it is told", async || {
            setting(&over, "transaction_read_only").await == off
        })
        .await;
    }
}

pub(super) async fn plain(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Has a node show this certificate from now on.
pub(super) async fn encrypt(over: &Client, identity: &Issued) {
    let dir = PathBuf::from(setting(over, "data_directory").await);
    own(&dir, "server.crt", &identity.certificate);
    own(&dir, "server.key", &identity.key);
    for set in [
        "alter system set ssl_cert_file = 'server.crt'",
        "alter system set ssl_key_file = 'server.key'",
        "alter system set ssl = on",
    ] {
        over.batch_execute(set).await.unwrap();
    }
    reload(over).await;
    until("it encrypts", async || setting(over, "ssl").await == "on").await;
}

/// A file of the account that the node runs as, closed to others.
pub(super) fn own(dir: &Path, name: &str, content: &str) {
    let (path, account) = (dir.join(name), fs::metadata(dir).unwrap());
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(account.uid()), Some(account.gid())).unwrap();
}

pub(super) async fn setting(over: &Client, name: &str) -> String {
    let row = over.query_one("select current_setting($1)", &[&name]).await;
    row.unwrap().get(0)
}

/// Has a node read its files again, and waits until its parent process has.
pub(super) async fn reload(over: &Client) {
    let loaded = "select pg_conf_load_time()::text";
    let before: String = over.query_one(loaded, &[]).await.unwrap().get(0);
    over.batch_execute("select pg_reload_conf()").await.unwrap();
    until("it has read its files again", async || {
        over.query_one(loaded, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
            != before
    })
    .await;
    // A session tells what it has read itself. Whoever lets new ones in was told first, and reads
    // who may come in last.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{what}: not within {PATIENCE:?}");
}

pub(super) fn database(url: &str) -> Database {
    Database::parse(url).unwrap_or_else(|refused| panic!("{refused}"))
}

pub(super) async fn connect(url: &str) -> Result<Connected, Failed> {
    let settings = Config::new();
    database(url).connect(To::Url, &settings).await
}

/// Whether the connection that a URL makes is encrypted.
pub(super) async fn is_encrypted(url: &str) -> bool {
    let (client, _) = connect(url)
        .await
        .unwrap_or_else(|failed| panic!("{failed:?}"));
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Why a URL makes no connection. No secret is told.
pub(super) async fn refusal(url: &str, server: &Server) -> String {
    let Err(failed) = connect(url).await else {
        panic!("it lets in");
    };
    let raw = format!("{failed:?}");
    let told = format!("{raw} {}", crate::Error::from(failed));
    assert!(!told.contains(&server.password), "{told}");
    told
}
