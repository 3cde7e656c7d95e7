//! Requests with the headers that matter here, each with a deadline.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response};
use serde_json::Value;

use super::history::{Answer, Attempt, hash, read};
use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};

/// Bytes of an answer that are read at most.
const MAX_ANSWER: usize = 32 << 20;

/// How long a client that breaks off keeps its connection.
const CUT: Duration = Duration::from_millis(200);

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) credential: &'a str,
    pub(crate) content_type: &'static str,
    pub(crate) key: Option<&'a str>,
    pub(crate) request_id: String,
    pub(crate) body: Bytes,
    /// The body is compressed.
    pub(crate) gzip: bool,
    /// The client breaks off after this many bytes of the body.
    pub(crate) cut: Option<usize>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>, credential: &'a str) -> Self {
        Self {
            method,
            path: path.into(),
            credential,
            content_type: "application/json",
            key: None,
            request_id: String::new(),
            body: Bytes::new(),
            gzip: false,
            cut: None,
        }
    }

    fn request(&self, authority: &str) -> Result<Request<AnyBody>, HttpError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, authority)
            .header(AUTHORIZATION, format!("Bearer {}", self.credential))
            .header(CONTENT_TYPE, self.content_type);
        if !self.request_id.is_empty() {
            request = request.header("x-request-id", &self.request_id);
        }
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(key) = self.key {
            request = request.header("idempotency-key", key);
        }
        let body = match self.cut {
            None => whole(self.body.clone()),
            Some(cut) => cut_off(self.body.slice(..cut.min(self.body.len()))),
        };
        request
            .body(body)
            .map_err(|error| HttpError::Answer(error.to_string()))
    }
}

/// A body whose sender is gone after these bytes.
fn cut_off(bytes: Bytes) -> AnyBody {
    let sent = stream::once(std::future::ready(Ok(Frame::data(bytes))));
    // Later, so that what came before is on its way: an error at once would take it along.
    let gone = stream::once(async {
        tokio::time::sleep(CUT).await;
        Err(std::io::Error::other("the client breaks off"))
    });
    let frames = sent.chain(gone);
    BodyExt::boxed(StreamBody::new(frames))
}

/// What came back: what is kept of it, and the texts of the invoices in it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) attempt: Attempt,
    pub(crate) invoices: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// The archive answered.
    pub(crate) cold: bool,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.attempt.answer.status
    }
}

/// A client of one of the servers, which opens a connection when it has none.
pub(crate) struct Client {
    server: Server,
    connection: Option<Connection<AnyBody>>,
    start: Instant,
    patience: Duration,
}

impl Client {
    pub(crate) fn new(server: Server, start: Instant, patience: Duration) -> Self {
        Self {
            server,
            connection: None,
            start,
            patience,
        }
    }

    /// Sends once. Whatever goes wrong is an answer with status 0.
    pub(crate) async fn send(&mut self, ask: &Ask<'_>) -> Told {
        let sent = self.start.elapsed();
        let answered = tokio::time::timeout(self.patience, self.exchange(ask)).await;
        let ended = self.start.elapsed();
        let (answer, body, invoices, cold) = match answered {
            Ok(Ok((head, body))) => {
                let status = head.status().as_u16();
                let retry_after = head.headers().contains_key(RETRY_AFTER);
                let cold = head
                    .headers()
                    .get("sheaf-tier")
                    .is_some_and(|tier| tier == "cold");
                let (found, code) = read(&body);
                let (seen, invoices) = found.into_iter().unzip();
                let code = code.unwrap_or_default();
                let hash = hash(&body);
                (
                    Answer {
                        status,
                        code,
                        retry_after,
                        seen,
                        hash,
                    },
                    body,
                    invoices,
                    cold,
                )
            }
            failed => {
                self.connection = None;
                let code = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "timeout".to_owned(),
                };
                let (seen, retry_after) = (Vec::new(), false);
                let answer = Answer {
                    status: 0,
                    code,
                    retry_after,
                    seen,
                    hash: 0,
                };
                (answer, Vec::new(), Vec::new(), false)
            }
        };
        let request_id = ask.request_id.clone();
        let attempt = Attempt {
            request_id,
            sent,
            ended,
            answer,
        };
        Told {
            attempt,
            invoices,
            body,
            cold,
        }
    }

    async fn exchange(&mut self, ask: &Ask<'_>) -> Result<(Response<()>, Vec<u8>), HttpError> {
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(open) => open,
            None => Connection::open(&self.server).await?,
        };
        let request = ask.request(self.server.authority())?;
        let mut body = Vec::new();
        let mut whole = true;
        let head = connection
            .exchange(request, |data| {
                whole &= body.len() + data.len() <= MAX_ANSWER;
                if whole {
                    body.extend_from_slice(data);
                }
            })
            .await?;
        if !whole {
            return Err(HttpError::Answer(format!(
                "{} answered more than 32 MiB",
                ask.path
            )));
        }
        self.connection = Some(connection);
        Ok((head, body))
    }
}
