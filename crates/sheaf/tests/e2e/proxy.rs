//! A network that fails between the API and its database: a commit arrives, and its answer is lost.
//!
//! <https://www.postgresql.org/docs/15/protocol-message-formats.html>

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Before one database node, without encryption: it reads what passes.
pub struct Proxy {
    pub port: u16,
    /// Whether answers to commits are lost now.
    loses: watch::Sender<bool>,
}

impl Proxy {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (loses, seen) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, seen.clone()));
            }
        });
        Self { port, loses }
    }

    /// For a moment every connection breaks at the answer to its next commit.
    pub async fn lose_answers(&self, moment: Duration) {
        self.loses.send_replace(true);
        tokio::time::sleep(moment).await;
        self.loses.send_replace(false);
    }
}

async fn pass(client: TcpStream, to: SocketAddr, loses: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let _delay = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = down(from_server, to_client, &loses) => {}
    }
}

/// Passes on the server's messages, whole.
async fn down(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    loses: &watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        message.clear();
        message.extend(head);
        // The length counts itself.
        message.resize(usize::try_from(length).unwrap() + 1, 0);
        server.read_exact(&mut message[5..]).await?;
        if *loses.borrow() && head[0] == b'C' && &message[5..] == b"COMMIT\0" {
            return Ok(());
        }
        client.write_all(&message).await?;
    }
}
