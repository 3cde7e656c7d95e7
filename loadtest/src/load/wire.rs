//! The load generator's own HTTP/1.1 connection: requests go out as bytes that were prepared, of an
//! answer only what a report needs is read. Heads are parsed by `httparse`.
//!
//! [`crate::load::http`] is more comfortable, and for everything that is not measured; what a
//! generator spends is taken from its highest rate, and on a shared machine from the server that it
//! measures.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::load::http::Server;

/// Header fields of an answer that are read at most; one with more is an error.
const MAX_HEADERS: usize = 64;
/// Bytes of an answer's head at most.
const MAX_HEAD: usize = 64 << 10;
/// Bytes of a body that are kept; the rest is read and dropped.
const KEPT: usize = 64 << 10;

/// An answer's head, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// The id at the end of `Location`.
    pub id: Option<Uuid>,
    /// Whether it says `Idempotency-Replayed: true`.
    pub replayed: bool,
    /// The server closes the connection.
    closes: bool,
    length: Length,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    UntilClosed,
    Bytes(usize),
    Chunked,
}

/// A keep-alive connection with one request in flight.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    input: BytesMut,
    body: Vec<u8>,
    open: bool,
    used: bool,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(server: &Server) -> io::Result<Self> {
        let stream = TcpStream::connect(server.authority()).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: BytesMut::with_capacity(8 << 10),
            body: Vec::new(),
            open: true,
            used: false,
        })
    }

    /// Sends a whole request and reads its answer to the end; [`Wire::body`] is its body.
    ///
    /// # Errors
    /// The connection broke or what came was no HTTP: it is of no use any more.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        self.body.clear();
        self.open = false;
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some((length, head)) = parse(&self.input)? {
                self.input.advance(length);
                if head.status >= 200 {
                    break head;
                }
                continue;
            }
            if self.input.len() > MAX_HEAD {
                return Err(io::Error::other("an answer's head is too long"));
            }
            self.more().await?;
        };
        match head.length {
            Length::Bytes(length) => self.take(length).await?,
            Length::Chunked => self.chunks().await?,
            Length::UntilClosed => while self.rest().await? {},
        }
        self.open = !head.closes;
        self.used = true;
        Ok(head)
    }

    /// The first 64 KiB of the last answer's body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether another request can be sent, as far as it is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it has carried a request: one that then breaks before an answer may have been closed
    /// as idle.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Whether there may be more until the server closes.
    async fn rest(&mut self) -> io::Result<bool> {
        let length = self.input.len();
        self.keep(length);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    fn keep(&mut self, length: usize) {
        let room = KEPT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&self.input[..length.min(room)]);
        self.input.advance(length);
    }

    async fn take(&mut self, mut left: usize) -> io::Result<()> {
        loop {
            let now = left.min(self.input.len());
            self.keep(now);
            left -= now;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> io::Result<()> {
        loop {
            let wrong = |_| io::Error::other("a chunk without a size");
            match httparse::parse_chunk_size(&self.input).map_err(wrong)? {
                httparse::Status::Partial => self.more().await?,
                httparse::Status::Complete((start, size)) => {
                    self.input.advance(start);
                    let size = usize::try_from(size).map_err(io::Error::other)?;
                    self.take(size).await?;
                    while self.input.len() < 2 {
                        self.more().await?;
                    }
                    // The line's end after a chunk; trailers are not sent by any server that we
                    // measure.
                    self.input.advance(2);
                    if size == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn parse(input: &[u8]) -> io::Result<Option<(usize, Head)>> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(input).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let mut head = Head {
        status: response.code.unwrap_or_default(),
        ..Head::default()
    };
    if matches!(head.status, 100..200 | 204 | 304) {
        head.length = Length::Bytes(0);
    }
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let says = |value: &str| header.value.eq_ignore_ascii_case(value.as_bytes());
        if is("content-length") {
            let digits = std::str::from_utf8(header.value).map_err(io::Error::other)?;
            head.length = Length::Bytes(digits.parse().map_err(io::Error::other)?);
        } else if is("transfer-encoding") && says("chunked") {
            head.length = Length::Chunked;
        } else if is("location") {
            let id = header.value.rsplit(|byte| *byte == b'/').next();
            head.id = id.and_then(|id| Uuid::try_parse_ascii(id).ok());
        } else if is("connection") {
            head.closes = says("close");
        } else if is("idempotency-replayed") {
            head.replayed = says("true");
        }
    }
    head.closes |= head.length == Length::UntilClosed;
    Ok(Some((length, head)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::net::TcpListener;

    use super::*;

    /// Answers that arrive a byte at a time.
    async fn answers(bytes: &'static [u8]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for byte in bytes {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.shutdown().await.unwrap();
            // To close with input unread would reset the connection, and what was sent could be
            // lost.
            stream.read_to_end(&mut Vec::new()).await.ok();
        });
        Wire::open(&Server::parse(&url).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn answers_in_pieces_are_put_together() {
        let mut wire = answers(
            b"HTTP/1.1 201 Created\r\nLocation: \
            /v1/invoices/0197a9a8-0000-7000-8000-000000000001\r\nContent-Length: \
            3\r\nIdempotency-Replayed: true\r\n\r\nabc\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: \
              chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n\
              HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        )
        .await;
        let head = wire.exchange(b"x").await.unwrap();
        assert_eq!(
            (head.status, head.replayed, wire.body()),
            (201, true, &b"abc"[..])
        );
        assert_eq!(
            head.id.unwrap().to_string(),
            "0197a9a8-0000-7000-8000-000000000001"
        );
        assert_eq!(wire.exchange(b"x").await.unwrap().status, 200);
        assert_eq!(wire.body(), b"abc0123456789abcdef");
        assert!(wire.is_open());
        assert_eq!(wire.exchange(b"x").await.unwrap().status, 204);
        assert!(!wire.is_open() && wire.body().is_empty());
    }

    #[tokio::test]
    async fn a_broken_answer_is_an_error() {
        let mut wire = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await;
        assert!(wire.exchange(b"x").await.is_err());
        assert!(!wire.is_open());
        let mut wire = answers(b"SMTP ready\r\n\r\n").await;
        assert!(wire.exchange(b"x").await.is_err());
    }
}
