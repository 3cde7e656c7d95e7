//! An encrypted stream, with what a password can be bound to: the server's certificate. Whoever
//! stands between cannot pass a login on that names another one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_rustls::client::TlsStream as Inner;

use super::certificate;

/// How long the server may take to close what we have closed.
const CLOSING: Duration = Duration::from_secs(2);

/// A connection within TLS.
pub(crate) struct Encrypted {
    stream: Inner<Socket>,
    /// Set once our side is closed.
    closing: Option<Pin<Box<Sleep>>>,
}

impl From<Inner<Socket>> for Encrypted {
    fn from(stream: Inner<Socket>) -> Self {
        Self {
            stream,
            closing: None,
        }
    }
}

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        match certificate.and_then(|of| certificate::end_point(of)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        // A request to cancel is all that its connection brings. Closed with something unread, such
        // as the session tickets of TLS 1.3, the system would reset it, and the server lose the
        // request before it has read it. So what the server still says is read, until it closes as
        // well.
        let closing = this
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSING)));
        let mut bytes = [0; 256];
        loop {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
