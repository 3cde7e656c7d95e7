//! A proxy before the database that reads the server's messages, and loses or replaces some.
//!
//! <https://www.postgresql.org/docs/15/protocol-message-formats.html>

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::raw;

/// What is done to the transactions that pass, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The commit reaches the server, its answer does not come back, and the connection is cut.
    LoseCommit,
    /// The transaction's begin is answered with this SQLSTATE, and the connection is cut.
    FailBegin(&'static str),
}

/// The address of the proxy, and what it does.
pub(crate) struct Proxy {
    pub(crate) database_url: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl Proxy {
    /// Before a database of its own, without Citus, whose workers would be reached without it.
    pub(crate) async fn start() -> Self {
        let url = sheaf_local::test_env().database_url;
        let config: tokio_postgres::Config = url.parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else {
            panic!("no TCP host: {url}")
        };
        let target = format!("{host}:{}", config.get_ports()[0]);
        let name = format!("proxied_{}", uuid::Uuid::now_v7().simple());
        let create = format!("create database {name}");
        raw().await.batch_execute(&create).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (server, _) = url.rsplit_once('/').unwrap();
        // It reads what passes: nothing may ask for encryption first.
        let server = server.replace(&target, &address);
        let database_url = format!("{server}/{name}?sslmode=disable");
        let faults = Arc::new(Mutex::new(VecDeque::new()));
        tokio::spawn(accept(listener, target, Arc::clone(&faults)));
        sheaf_store::migrate(&database_url, 8).await.unwrap();
        Self {
            database_url,
            faults,
        }
    }

    /// A connection through it, to count what is there.
    pub(crate) async fn raw(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What is to happen next, in this order.
    pub(crate) fn expect(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Whether all of it has happened.
    pub(crate) fn is_quiet(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }
}

async fn accept(listener: TcpListener, target: String, faults: Arc<Mutex<VecDeque<Fault>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&target).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        let up = tokio::spawn(async move {
            let _cut = tokio::io::copy(&mut from_client, &mut to_server).await;
        });
        let faults = Arc::clone(&faults);
        tokio::spawn(async move {
            let _cut = down(from_server, to_client, &faults).await;
            // Both ways: a cut connection must not look alive.
            up.abort();
        });
    }
}

/// Passes on the server's messages, whole.
async fn down(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    faults: &Mutex<VecDeque<Fault>>,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        server.read_exact(&mut body).await?;
        if head[0] == b'C' {
            match happens(&body, faults) {
                Some(Fault::LoseCommit) => return Ok(()),
                Some(Fault::FailBegin(code)) => return client.write_all(&refusal(code)).await,
                None => {}
            }
        }
        client.write_all(&head).await?;
        client.write_all(&body).await?;
    }
}

/// The next fault, if it is of the command that has ended.
fn happens(tag: &[u8], faults: &Mutex<VecDeque<Fault>>) -> Option<Fault> {
    faults.lock().unwrap().pop_front_if(|fault| match fault {
        Fault::LoseCommit => tag == b"COMMIT\0",
        Fault::FailBegin(_) => tag == b"BEGIN\0",
    })
}

/// An `ErrorResponse`.
fn refusal(code: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', code),
        (b'M', "said the proxy"),
    ] {
        body.push(field);
        body.extend(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut message = vec![b'E'];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}
