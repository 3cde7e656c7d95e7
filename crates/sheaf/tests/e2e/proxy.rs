//! A network that fails between the API and its database: what was sent arrives, and what is answered is lost.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The state of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Whole,
    /// Answers are lost.
    Mute,
    /// All connections break.
    Cut,
}

/// Before one database node.
pub struct Proxy {
    pub port: u16,
    network: watch::Sender<Network>,
}

impl Proxy {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (network, seen) = watch::channel(Network::Whole);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, seen.clone()));
            }
        });
        Self { port, network }
    }

    /// Loses what the database answers for a moment; then the connections break.
    pub async fn lose_answers(&self, moment: Duration) {
        self.network.send_replace(Network::Mute);
        tokio::time::sleep(moment).await;
        self.network.send_replace(Network::Cut);
        // Until every connection has seen it.
        tokio::time::sleep(moment).await;
        self.network.send_replace(Network::Whole);
    }
}

async fn pass(client: TcpStream, to: SocketAddr, mut network: watch::Receiver<Network>) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let _delay = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let state = network.clone();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            if *state.borrow() == Network::Whole {
                to_client.write_all(&buffer[..read]).await?;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = network.wait_for(|state| *state == Network::Cut) => {}
    }
}
