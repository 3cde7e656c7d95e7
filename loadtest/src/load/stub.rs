//! A server with known delays and known stalls: what a load generator reports about it can be
//! checked.
//!
//! It answers like Sheaf as far as a load generator can tell: tenants, keys and invoices are made
//! (and forgotten at once), every invoice is there. Whatever a report shows beyond the delays asked
//! for is the machine's and the tool's.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::load::timer::Timer;

/// Header fields of a request that are read at most.
const MAX_HEADERS: usize = 32;
/// Bytes of one request's head and body at most; a longer one ends the connection.
const MAX_REQUEST: usize = 64 << 20;
/// Invoices on a page.
const PAGE: usize = 20;

/// How the server answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// Every answer takes this long; connections do not wait for one another.
    pub delay: Duration,
    /// When it answers nothing at all.
    pub stall: Option<Stall>,
    /// Each n-th request is refused with 503; 0: none.
    pub refuse_every: u64,
    /// Requests that are worked on at one time; the others wait. 0: all. With a delay this makes a
    /// server whose capacity is known: `parallel / delay`.
    pub parallel: usize,
}

/// The server stalls for `lasting` at the start of each `every`, counted from its own start.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// From the start of one stall to that of the next.
    pub every: Duration,
    /// How long nothing is answered.
    pub lasting: Duration,
}

struct Stub {
    behaviour: Behaviour,
    started: Instant,
    served: std::cell::Cell<u64>,
    working: Option<tokio::sync::Semaphore>,
}

/// Serves until the listener fails, on the current thread: to be run inside of a
/// [`tokio::task::LocalSet`].
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve(listener: TcpListener, behaviour: Behaviour) -> io::Result<()> {
    let stub = Rc::new(Stub {
        behaviour,
        started: Instant::now(),
        served: std::cell::Cell::new(0),
        working: (behaviour.parallel > 0).then(|| tokio::sync::Semaphore::new(behaviour.parallel)),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stub = Rc::clone(&stub);
        // A connection that breaks concerns nobody else.
        tokio::task::spawn_local(async move { stub.connection(stream).await.ok() });
    }
}

impl Stub {
    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut timer = Timer::new()?;
        let mut input = BytesMut::with_capacity(16 << 10);
        let mut output = Vec::with_capacity(1 << 10);
        while stream.read_buf(&mut input).await? > 0 {
            while let Some((length, answer)) = self.parse(&input)? {
                input.advance(length);
                self.hold(&mut timer).await?;
                answer.write(&mut output);
            }
            if input.len() > MAX_REQUEST {
                return Err(io::Error::other("a request is too long"));
            }
            stream.write_all(&output).await?;
            output.clear();
        }
        Ok(())
    }

    /// The stall, if there is one, then the delay.
    async fn hold(&self, timer: &mut Timer) -> io::Result<()> {
        let _turn = match &self.working {
            Some(working) => Some(working.acquire().await.map_err(io::Error::other)?),
            None => None,
        };
        if let Some(Stall { every, lasting }) = self.behaviour.stall {
            let into = self.started.elapsed().as_nanos() % every.as_nanos().max(1);
            let into = Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX));
            if into < lasting {
                timer.wait(Instant::now() + (lasting - into)).await?;
            }
        }
        if self.behaviour.delay.is_zero() {
            return Ok(());
        }
        timer.wait(Instant::now() + self.behaviour.delay).await
    }

    /// The bytes of the first whole request in `input`, and what to answer.
    fn parse(&self, input: &[u8]) -> io::Result<Option<(usize, Answer)>> {
        if input.is_empty() {
            return Ok(None);
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request.parse(input).map_err(io::Error::other)? {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return Ok(None),
        };
        let mut body = 0;
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(header.value).map_err(io::Error::other)?;
                body = length.parse().map_err(io::Error::other)?;
            }
        }
        if body > MAX_REQUEST || input.len() < head + body {
            return Ok(None);
        }
        self.served.set(self.served.get() + 1);
        let every = self.behaviour.refuse_every;
        let answer = if every > 0 && self.served.get().is_multiple_of(every) {
            Answer::Refused
        } else {
            let lines = &input[head..head + body];
            Answer::to(
                request.method.unwrap_or_default(),
                request.path.unwrap_or_default(),
                lines,
            )
        };
        Ok(Some((head + body, answer)))
    }
}

/// What Sheaf would answer, as far as a load generator reads it.
enum Answer {
    Found,
    List,
    Made { location: &'static str },
    Key,
    Bulk { lines: usize },
    Refused,
}

impl Answer {
    fn to(method: &str, path: &str, body: &[u8]) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        match (method, path) {
            ("POST", "/v1/tenants") => Self::Made {
                location: "/v1/tenants/",
            },
            ("POST", "/v1/invoices") => Self::Made {
                location: "/v1/invoices/",
            },
            ("POST", "/v1/invoices/bulk" | "/v1/platform/invoices/bulk") => Self::Bulk {
                lines: body
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .count(),
            },
            ("POST", path) if path.ends_with("/api-keys") => Self::Key,
            ("POST", _) => Self::Made {
                location: "/v1/payments/",
            },
            ("GET", "/v1/invoices" | "/v1/archive/files") => Self::List,
            _ => Self::Found,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (status, location, body) = match self {
            // The hot path of a measurement of the client: nothing is formatted.
            Self::Found => {
                out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
                return;
            }
            Self::Made { location } => {
                let id = Uuid::now_v7();
                let body = format!("{{\"id\":\"{id}\",\"total\":\"10.00\"}}");
                ("201 Created", format!("location: {location}{id}\r\n"), body)
            }
            Self::Key => {
                let body = "{\"api_key\":\"stub\"}".to_owned();
                ("201 Created", String::new(), body)
            }
            Self::Bulk { lines } => {
                let body = format!(
                    "{{\"received\":{lines},\"created\":{lines},\"duplicates\":0,\"rejected\":0,\
                    \"errors\":[]}}"
                );
                ("200 OK", String::new(), body)
            }
            Self::List => {
                let invoice = || {
                    let id = Uuid::now_v7();
                    format!("{{\"id\":\"{id}\",\"amount_due\":\"10.00\",\"kind\":\"invoice\"}}")
                };
                let page: Vec<String> = std::iter::repeat_with(invoice).take(PAGE).collect();
                let body = format!(
                    "{{\"data\":[{}],\"has_more\":false,\"next_cursor\":null}}",
                    page.join(",")
                );
                ("200 OK", String::new(), body)
            }
            Self::Refused => {
                let body = "{\"code\":\"overloaded\",\"status\":503}".to_owned();
                ("503 Service Unavailable", String::new(), body)
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{location}content-type: application/json\r\ncontent-length: \
            {}\r\n\r\n{body}",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
    }
}
