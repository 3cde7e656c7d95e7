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
use axum::extract::{MatchedPath, Request};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use metrics::{Counter, Gauge, Histogram};
use sheaf_store::{Store, caught};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::auth::caller::Caller;
use crate::error::Error;
use crate::headers;
use crate::observe::denials::{Denial, Denials};
use crate::observe::request_id::{RequestId, TRACEPARENT, X_REQUEST_ID};
use crate::observe::trace;
use crate::problem::{Problem, Told};
use crate::rate_limit;
use crate::serve::config::Config;

/// The layer; see the module.
#[derive(Clone)]
pub struct Observe(Arc<Settings>);

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
    pub(crate) fn new(
        config: &Config,
        metrics: RequestMetrics,
        denials: Arc<Denials>,
        store: Store,
    ) -> Self {
        Self(Arc::new(Settings {
            metrics,
            denials,
            store,
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
pub struct Observed {
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
                    Err(_) => Ok(Ok(Error::Timeout.into_response())),
                }
            };
            let Ok(response) =
                answer.unwrap_or_else(|panic| Ok(Error::Internal(panic).into_response()));
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
    let count = metrics::counter!(
        "sheaf_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status
    );
    let latency = metrics::histogram!(
        "sheaf_http_request_duration_seconds",
        "route" => route, "method" => method
    );
    (count, latency)
}
