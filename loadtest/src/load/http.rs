//! One HTTP/1.1 connection over TCP.

use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::io::ReaderStream;

/// Bytes of an answer that [`Connection::json`] reads at most.
const MAX_ANSWER: usize = 16 << 20;

/// What went wrong between us and the server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No plain `http://host:port` URL.
    #[error("{0}: not a URL of the form http://host:port")]
    Url(String),
    /// No connection.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The server.
        to: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The server closed the connection before it answered.
    #[error("the server closed the connection")]
    Closed,
    /// An answer that cannot be used.
    #[error("{0}")]
    Answer(String),
}

/// A server, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    authority: String,
}

impl Server {
    /// Reads `http://host:port`; the port defaults to 80, a trailing slash is ignored.
    ///
    /// # Errors
    /// [`HttpError::Url`].
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let wrong = || HttpError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some("http"), Some(host), "" | "/") = (uri.scheme_str(), uri.host(), uri.path())
        else {
            return Err(wrong());
        };
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{host}:{port}"),
        })
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

type Driver<B> = Pin<Box<http1::Connection<TokioIo<TcpStream>, B>>>;

/// A keep-alive connection that carries one request at a time.
///
/// The connection is driven inside of the caller's own task: a request costs no wake-up of a second
/// task.
pub struct Connection<B: Body + 'static> {
    sender: SendRequest<B>,
    driver: Option<Driver<B>>,
    authority: String,
}

impl<B> Connection<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects.
    ///
    /// # Errors
    /// [`HttpError::Connect`], or [`HttpError::Broken`].
    pub async fn open(server: &Server) -> Result<Self, HttpError> {
        let connect = |source| HttpError::Connect {
            to: server.authority.clone(),
            source,
        };
        let stream = TcpStream::connect(&server.authority)
            .await
            .map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            authority: server.authority.clone(),
        })
    }

    /// Sends one request and reads its answer to the end, which goes to `each` piece by piece.
    ///
    /// # Errors
    /// [`HttpError::Broken`] or [`HttpError::Closed`]: the connection is of no use any more, and
    /// whether the server acted on the request is not known.
    pub async fn exchange(
        &mut self,
        request: Request<B>,
        mut each: impl FnMut(&Bytes),
    ) -> Result<Response<()>, HttpError> {
        let Self { sender, driver, .. } = self;
        let answered = async {
            let response: Response<Incoming> = sender.send_request(request).await?;
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame?.data_ref() {
                    each(data);
                }
            }
            Ok(Response::from_parts(head, ()))
        };
        let head = drive(driver, answered).await?;
        // Not ready again: the server closes the connection, which is its right after an answer.
        if drive(driver, sender.ready()).await.is_err() {
            *driver = None;
        }
        Ok(head)
    }

    /// Whether another request can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }
}

/// Runs `work` and the connection that it waits for together. The driver goes when the connection
/// has ended.
async fn drive<B, T>(
    driver: &mut Option<Driver<B>>,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, HttpError>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(HttpError::Broken));
        }
        let ended = match driver {
            Some(running) => running.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        };
        if ended.is_ready() {
            *driver = None;
        }
        // What the driver has just read may be the answer.
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(HttpError::Broken));
        }
        match ended {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Err(HttpError::Closed)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(HttpError::Broken(error))),
        }
    })
    .await
}

/// A body of any kind.
pub type AnyBody = BoxBody<Bytes, std::io::Error>;

impl Connection<AnyBody> {
    /// Sends `body` of type `content_type` with a credential, and reads the answer as JSON (null
    /// when it is empty).
    ///
    /// # Errors
    /// As [`Connection::exchange`]; [`HttpError::Answer`] when the answer is no JSON or larger than
    /// 16 MiB.
    pub async fn json(
        &mut self,
        method: Method,
        path: &str,
        credential: &str,
        content_type: &str,
        body: AnyBody,
    ) -> Result<(StatusCode, Value), HttpError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, format!("Bearer {credential}"))
            .header(CONTENT_TYPE, content_type)
            .body(body)
            .map_err(|error| HttpError::Answer(error.to_string()))?;
        let mut answer = Vec::new();
        let head = self
            .exchange(request, |data| {
                if answer.len() <= MAX_ANSWER {
                    answer.extend_from_slice(data);
                }
            })
            .await?;
        if answer.is_empty() {
            return Ok((head.status(), Value::Null));
        }
        let value = serde_json::from_slice(&answer).map_err(|error| {
            HttpError::Answer(format!(
                "{path} answered {} without JSON: {error}",
                head.status()
            ))
        })?;
        Ok((head.status(), value))
    }
}

/// A body that is read from a file as it is sent.
///
/// # Errors
/// When the file cannot be opened.
pub async fn file(path: &Path) -> std::io::Result<AnyBody> {
    let file = tokio::fs::File::open(path).await?;
    let pieces = ReaderStream::with_capacity(file, 256 << 10).map_ok(Frame::data);
    Ok(BodyExt::boxed(StreamBody::new(pieces)))
}

/// A body that is in memory.
#[must_use]
pub fn whole(body: impl Into<Bytes>) -> AnyBody {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}
