//! The one layer around every route: request id, `traceparent`, metrics, access log, denials, what
//! is left of a rate limit, timeout, and the last stop of panics. One own layer instead of a stack
//! of six: it runs for every small create.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use metrics::{Counter, Gauge, Histogram};
use sheaf_store::{Origin, Store, Trace, caught};
use tower::{Layer, Service};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::headers::{self, single};
use crate::observe::denials::{Denial, Denials};
use crate::observe::trace;
use crate::problem::{Problem, Told};
use crate::rate_limit;
use crate::state::App;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const X_CAUSATION_ID: HeaderName = HeaderName::from_static("x-causation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID: usize = 128;

/// The request's id, the client's own or a new UUIDv7.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        match usable(headers, X_REQUEST_ID) {
            Some(id) => Self(id.into()),
            None => {
                let mut buffer = Uuid::encode_buffer();
                Self(Arc::from(
                    &*Uuid::now_v7().hyphenated().encode_lower(&mut buffer),
                ))
            }
        }
    }
}

/// Which request this is and what it belongs to (`X-Correlation-Id`, `X-Causation-Id`): kept with
/// the events that it causes.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    request_id: Arc<str>,
    trace: Trace,
}

impl Requested {
    /// The origin of what `actor` changes by it.
    pub(crate) fn by(self, actor: Arc<str>) -> Origin {
        Origin {
            actor,
            request_id: self.request_id,
            trace: self.trace,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Requested {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let RequestId(request_id) = RequestId::from_request_parts(parts, state).await?;
        let of = |name| usable(&parts.headers, name).map(Arc::from);
        let trace = Trace {
            correlation_id: of(X_CORRELATION_ID),
            causation_id: of(X_CAUSATION_ID),
        };
        Ok(Self { request_id, trace })
    }
}

/// An id that a client sent, if it is one that we repeat. Of two nobody knows which one is meant.
fn usable(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let sent = single(headers, &name).ok().flatten();
    let sent = sent.and_then(|value| value.to_str().ok());
    sent.filter(|id| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// The trace that the request belongs to, with a span of our own (W3C Trace Context, version 00).
pub(crate) fn traceparent(headers: &HeaderMap) -> String {
    let span: u64 = rand::random::<u64>() | 1;
    match sent_trace(headers) {
        Some((trace, _, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{:032x}-{span:016x}-01", rand::random::<u128>() | 1),
    }
}

/// Trace, span and flags that the client sent.
pub(crate) fn sent_trace(headers: &HeaderMap) -> Option<(&str, &str, &str)> {
    let sent = single(headers, &TRACEPARENT).ok().flatten();
    let sent = sent.and_then(|value| value.to_str().ok());
    sent.and_then(trace_of)
}

/// Trace id, span id and flags of a valid `traceparent`.
fn trace_of(header: &str) -> Option<(&str, &str, &str)> {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = header.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(span, 16)
        && !zero(span);
    (valid && hex(flags, 2)).then_some((trace, span, flags))
}

/// The layer; see the module.
#[derive(Clone)]
pub(crate) struct Observe(Arc<Settings>);

struct Settings {
    metrics: RequestMetrics,
    timeout: Duration,
    access_log: bool,
    denials: Arc<Denials>,
    store: Store,
    /// `RateLimit-Policy`, where there is a limit.
    policy: Option<HeaderValue>,
}

impl Observe {
    pub(crate) fn new(app: &App, metrics: RequestMetrics) -> Self {
        let config = &app.config;
        Self(Arc::new(Settings {
            metrics,
            denials: Arc::clone(&app.denials),
            store: app.store.clone(),
            policy: config.rate_limit.and_then(rate_limit::policy),
            timeout: config.request_timeout,
            access_log: config.access_log,
        }))
    }
}

impl Layer<Route> for Observe {
    type Service = Observed;

    fn layer(&self, inner: Route) -> Observed {
        Observed {
            inner,
            settings: Arc::clone(&self.0),
        }
    }
}

/// A route with the layer around it.
#[derive(Clone)]
pub(crate) struct Observed {
    inner: Route,
    settings: Arc<Settings>,
}

impl Service<Request> for Observed {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Route as Service<Request>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let id = RequestId::of(request.headers());
        let path = request.extensions().get::<MatchedPath>().cloned();
        let route = path.as_ref().map_or("", MatchedPath::as_str);
        let (span, trace) = trace::begin(request.method(), route, &id.0, request.headers());
        let seen = Seen {
            started: Instant::now(),
            in_flight: InFlight::enter(&self.settings.metrics.in_flight),
            id,
            trace,
            method: request.method().clone(),
            path,
            settings: Arc::clone(&self.settings),
            caller: Arc::default(),
        };
        let extensions = request.extensions_mut();
        extensions.insert(seen.id.clone());
        extensions.insert(Arc::clone(&seen.caller));
        let refused = headers::check(request.headers()).err();
        let answer = self.inner.call(request);
        let answer = async move {
            match refused {
                None => answer.await,
                Some(error) => Ok(error.into_response()),
            }
        };
        // Uploads take as long as they take: each read of their body has a bound instead.
        let streaming = seen.template().ends_with("/bulk");
        Box::pin(async move {
            let answer = caught("request", answer).instrument(span.clone());
            let answer = if streaming {
                answer.await
            } else {
                match tokio::time::timeout(seen.settings.timeout, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Ok(Ok(ApiError::Timeout.into_response())),
                }
            };
            let Ok(response) =
                answer.unwrap_or_else(|panic| Ok(ApiError::Internal(panic).into_response()));
            trace::end(&span, response.status().as_u16(), &seen.caller);
            Ok(seen.finish(response))
        })
    }
}

/// A request on its way.
struct Seen {
    started: Instant,
    in_flight: InFlight,
    id: RequestId,
    trace: String,
    method: Method,
    path: Option<MatchedPath>,
    settings: Arc<Settings>,
    caller: Arc<Caller>,
}

impl Seen {
    fn template(&self) -> &str {
        self.path.as_ref().map_or("", MatchedPath::as_str)
    }

    fn finish(self, mut response: Response) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
            *response.body_mut() = Body::from(problem.render(&self.id.0));
            self.note_denial(&problem);
            self.tell_cause(&problem);
        }
        let status = response.status();
        let elapsed = self.started.elapsed();
        self.settings
            .metrics
            .record(self.template(), &self.method, status.as_u16(), elapsed);
        if self.settings.access_log || status.is_server_error() {
            tracing::info!(
                target: "sheaf::access",
                method = %self.method,
                route = self.template(),
                status = status.as_u16(),
                elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                request_id = %self.id.0,
                traceparent = %self.trace,
                "request"
            );
        }
        let headers = response.headers_mut();
        // What tenants wrote comes back in answers: no browser may take it for something else than
        // it says.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let (Some(policy), Some(standing)) = (&self.settings.policy, self.caller.standing.get())
        {
            standing.write(policy, headers);
        }
        if let Ok(value) = HeaderValue::from_str(&self.id.0) {
            headers.insert(X_REQUEST_ID, value);
        }
        if let Ok(value) = HeaderValue::try_from(self.trace) {
            headers.insert(TRACEPARENT, value);
        }
        drop(self.in_flight);
        response
    }
}

impl Seen {
    /// Whoever looks for a request in the log finds why it failed, and on which node.
    fn tell_cause(&self, problem: &Problem) {
        let Some(cause) = &problem.cause else { return };
        let tenant = self.caller.auth.get().map(|auth| auth.tenant_id);
        cause.log(&Told {
            request_id: &self.id.0,
            traceparent: &self.trace,
            code: problem.code,
            owner: tenant.map(|tenant| self.settings.store.owner_of(tenant)),
            tenant: tenant.map(|tenant| tenant.to_string()),
        });
    }

    /// Whatever refused it, an extractor or a handler: nobody can forget to.
    fn note_denial(&self, problem: &Problem) {
        if !matches!(
            problem.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return;
        }
        let denial = Denial {
            method: &self.method,
            route: self.template(),
            code: problem.code,
            request_id: &self.id.0,
        };
        self.settings.denials.note(self.caller.auth.get(), &denial);
    }
}

/// Counts down again however the request ends, also when its client went away.
struct InFlight(Gauge);

impl InFlight {
    fn enter(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Handles by route, method and status. Asking the recorder each time would format and hash all
/// labels.
pub(crate) struct RequestMetrics {
    routes: HashMap<Box<str>, u16>,
    handles: RwLock<HashMap<Key, (Counter, Histogram)>>,
    in_flight: Gauge,
}

/// Route, method, status: bounded by the routes that exist and the statuses that they answer.
type Key = (u16, u8, u16);

const METHODS: [(Method, &str); 6] = [
    (Method::GET, "GET"),
    (Method::POST, "POST"),
    (Method::PATCH, "PATCH"),
    (Method::PUT, "PUT"),
    (Method::DELETE, "DELETE"),
    (Method::HEAD, "HEAD"),
];
const OTHER: &str = "other";

impl RequestMetrics {
    /// For these route templates; any other path is recorded as `other`.
    pub(crate) fn new<'a>(routes: impl Iterator<Item = &'a str>) -> Self {
        metrics::counter!("sheaf_panics_total", "task" => "request").increment(0);
        let routes = routes
            .zip(1..)
            .map(|(route, index)| (route.into(), index))
            .collect();
        Self {
            routes,
            handles: RwLock::default(),
            in_flight: metrics::gauge!("sheaf_http_requests_in_flight"),
        }
    }

    fn record(&self, template: &str, method: &Method, status: u16, elapsed: Duration) {
        let route = self.routes.get(template).copied().unwrap_or(0);
        let method = METHODS
            .iter()
            .zip(0..)
            .find(|((known, _), _)| known == method)
            .map_or(u8::MAX, |(_, index)| index);
        let key = (route, method, status);
        if let Some((count, latency)) = self
            .handles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            count.increment(1);
            latency.record(elapsed);
            return;
        }
        let template = if route == 0 { OTHER } else { template };
        let method = METHODS
            .get(usize::from(method))
            .map_or(OTHER, |(_, name)| name);
        let (count, latency) = handles(template, method, status);
        count.increment(1);
        latency.record(elapsed);
        self.handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (count, latency));
    }
}

fn handles(route: &str, method: &'static str, status: u16) -> (Counter, Histogram) {
    let route = route.to_owned();
    let status = status.to_string();
    let count = metrics::counter!("sheaf_http_requests_total", "route" => route.clone(), "method" => method, "status" => status);
    let latency = metrics::histogram!("sheaf_http_request_duration_seconds", "route" => route, "method" => method);
    (count, latency)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_trace_is_continued_and_a_broken_one_replaced() {
        let mut headers = HeaderMap::new();
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        headers.insert(TRACEPARENT, HeaderValue::from_static(sent));
        let made = traceparent(&headers);
        assert!(
            made.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && made.ends_with("-00"),
            "{made}"
        );
        assert_ne!(made, sent);
        headers.insert(
            TRACEPARENT,
            HeaderValue::from_static("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        );
        assert!(trace_of(&traceparent(&headers)).is_some());
        assert!(!traceparent(&headers).contains("-00000000000000000000000000000000-"));
        // Two are none (W3C Trace Context, section 3.2.1).
        headers.insert(TRACEPARENT, HeaderValue::from_static(sent));
        headers.append(TRACEPARENT, HeaderValue::from_static(sent));
        assert_eq!(sent_trace(&headers), None);
    }

    #[test]
    fn an_unusable_request_id_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("mine-1"));
        assert_eq!(&*RequestId::of(&headers).0, "mine-1");
        for bad in ["", "two words", &"x".repeat(129)] {
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(RequestId::of(&headers).0.len(), 36);
        }
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("mine-1"));
        headers.append(X_REQUEST_ID, HeaderValue::from_static("mine-2"));
        assert_eq!(RequestId::of(&headers).0.len(), 36);
    }
}
