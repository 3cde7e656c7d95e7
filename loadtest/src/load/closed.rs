//! The closed loop: C keep-alive connections, each of which sends its next request when its last
//! answer is in.
//!
//! Everything runs on the calling thread, beside the server on the same machine, so a request must
//! cost little: requests are prepared beforehand, and a connection is driven in its own task.
//!
//! With [`Plan::rate`] the run is paced: requests have planned times, and latency counts from
//! these, so that a stalled server cannot hide the requests that it kept from being sent
//! ("coordinated omission").

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::load::generate::{Form, Generator};
use crate::load::http::{Connection, HttpError, Server};
use crate::load::setup::Tenant;

/// Time for the requests in flight to be answered after the end.
const GRACE: Duration = Duration::from_secs(30);
/// Before a broken connection is opened again.
const RECONNECT: Duration = Duration::from_millis(20);
/// Latencies are recorded up to this, in microseconds; longer ones count as this.
const LONGEST_MICROS: u64 = 60_000_000;
/// Connections of one run at most.
pub const MAX_CONNECTIONS: usize = 10_000;

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Index of its tenant.
    pub tenant: u32,
    /// What it counts as in [`Outcome::classes`]; 0 unless [`Prepared::classify`] says otherwise.
    class: u8,
    method: Method,
    uri: Uri,
    credential: HeaderValue,
    body: Bytes,
}

impl Prepared {
    /// `count` creates of generated invoices. A body is sent many times: the shape must have no
    /// keys.
    ///
    /// # Errors
    /// [`HttpError::Answer`] when a tenant's key cannot stand in a header, or a tenant is missing.
    pub fn creates(
        generator: &mut Generator,
        tenants: &[Tenant],
        count: usize,
    ) -> Result<Vec<Self>, HttpError> {
        let keys = credentials(tenants)?;
        let mut prepared = Vec::with_capacity(count);
        for _ in 0..count {
            let mut body = Vec::new();
            let tenant = generator.write(Form::Tenant, &mut body);
            prepared.push(Self {
                tenant,
                class: 0,
                method: Method::POST,
                uri: Uri::from_static("/v1/invoices"),
                credential: key_of(&keys, tenant)?,
                body: body.into(),
            });
        }
        Ok(prepared)
    }

    /// One read for each invoice: tenant and id.
    ///
    /// # Errors
    /// As [`Prepared::creates`].
    pub fn reads(invoices: &[(u32, Uuid)], tenants: &[Tenant]) -> Result<Vec<Self>, HttpError> {
        let keys = credentials(tenants)?;
        let read = |&(tenant, id): &(u32, Uuid)| {
            let uri = format!("/v1/invoices/{id}").parse();
            Ok(Self {
                tenant,
                class: 0,
                method: Method::GET,
                uri: uri.map_err(|_| HttpError::Answer(format!("no path for {id}")))?,
                credential: key_of(&keys, tenant)?,
                body: Bytes::new(),
            })
        };
        invoices.iter().map(read).collect()
    }

    /// POSTs of these bodies: tenant, path and JSON.
    ///
    /// # Errors
    /// As [`Prepared::creates`].
    pub fn posts(
        posts: impl IntoIterator<Item = (u32, String, String)>,
        tenants: &[Tenant],
    ) -> Result<Vec<Self>, HttpError> {
        let keys = credentials(tenants)?;
        let post = |(tenant, path, body): (u32, String, String)| {
            let uri = path.parse();
            Ok(Self {
                tenant,
                class: 0,
                method: Method::POST,
                uri: uri.map_err(|_| HttpError::Answer(format!("{path} is no path")))?,
                credential: key_of(&keys, tenant)?,
                body: body.into(),
            })
        };
        posts.into_iter().map(post).collect()
    }

    /// Puts every request into a class by the index of its tenant, such as the hot one and the
    /// others.
    pub fn classify(requests: &mut [Self], class: impl Fn(u32) -> u8) {
        for request in requests {
            request.class = class(request.tenant);
        }
    }

    fn request(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, host.clone());
        headers.insert(AUTHORIZATION, self.credential.clone());
        if self.method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request
    }
}

fn credentials(tenants: &[Tenant]) -> Result<Vec<HeaderValue>, HttpError> {
    let header = |tenant: &Tenant| HeaderValue::try_from(format!("Bearer {}", tenant.api_key));
    let unusable = |_| HttpError::Answer("an API key cannot stand in a header".to_owned());
    tenants
        .iter()
        .map(|tenant| header(tenant).map_err(unusable))
        .collect()
}

fn key_of(keys: &[HeaderValue], tenant: u32) -> Result<HeaderValue, HttpError> {
    let key = keys.get(tenant as usize).cloned();
    key.ok_or_else(|| HttpError::Answer(format!("there is no tenant {tenant}")))
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to send to.
    pub server: Server,
    /// Connections, each with one request in flight; at most [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// Time before measuring starts.
    pub warmup: Duration,
    /// Time that is measured.
    pub duration: Duration,
    /// Requests per second over all connections. `None`: as many as are answered.
    pub rate: Option<f64>,
    /// Sent in turns; each connection starts at another one.
    pub requests: Vec<Prepared>,
}

/// Latencies of one class of requests in the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Answers.
    pub answers: u64,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Longest, milliseconds.
    pub max_ms: f64,
}

impl Latency {
    // Latencies are measurements, not money.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    fn of(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Self {
            answers: micros.len(),
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p99_ms: ms(micros.value_at_quantile(0.99)),
            max_ms: ms(micros.max()),
        }
    }
}

/// What a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Connections of the run.
    pub connections: usize,
    /// Answers with a status of 2xx per second of the measured time.
    pub rate: f64,
    /// Median latency of all answers in the measured time, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// 99.9th percentile, milliseconds.
    pub p999_ms: f64,
    /// Longest, milliseconds.
    pub max_ms: f64,
    /// The same by class of request ([`Prepared::classify`]); classes without an answer are absent.
    pub classes: BTreeMap<u8, Latency>,
    /// Answers by status, of the whole run with its warm-up.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that broke under a request, or could not be opened.
    pub broken: u64,
    /// Requests without an answer 30 s after the end.
    pub unanswered: u64,
    /// Every invoice whose creation was answered with 201, of the whole run: index of the tenant,
    /// id.
    #[serde(skip)]
    pub created: Vec<(u32, Uuid)>,
}

/// What the connections of a run share, on their one thread.
struct Run {
    plan: Plan,
    host: HeaderValue,
    measured_from: Instant,
    end: Instant,
    tally: RefCell<Tally>,
}

struct Tally {
    /// Of a new class, to be cloned: making one can fail, and a run must not.
    empty: Histogram<u64>,
    latencies: Histogram<u64>,
    classes: BTreeMap<u8, Histogram<u64>>,
    succeeded: u64,
    sent: u64,
    answered: u64,
    /// Sent on a connection that broke.
    lost: u64,
    broken: u64,
    statuses: BTreeMap<u16, u64>,
    created: Vec<(u32, Uuid)>,
}

/// Runs `plan` on the current thread's runtime (a current-thread runtime is the cheapest).
///
/// # Errors
/// [`HttpError::Connect`] when the server takes no connection at the start; [`HttpError::Answer`]
/// when the plan has no requests, no connections, or too many.
pub async fn run(plan: Plan) -> Result<Outcome, HttpError> {
    if plan.requests.is_empty() || !(1..=MAX_CONNECTIONS).contains(&plan.connections) {
        let wrong = format!("a run needs requests, and 1 to {MAX_CONNECTIONS} connections");
        return Err(HttpError::Answer(wrong));
    }
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(&plan.server).await?);
    }
    let host = HeaderValue::try_from(plan.server.authority());
    // Three digits; the bounds are valid ones.
    let empty = Histogram::new_with_max(LONGEST_MICROS, 3)
        .map_err(|error| HttpError::Answer(error.to_string()))?;
    let measured_from = Instant::now() + plan.warmup;
    let run = Rc::new(Run {
        host: host.map_err(|error| HttpError::Answer(error.to_string()))?,
        measured_from,
        end: measured_from + plan.duration,
        plan,
        tally: RefCell::new(Tally {
            latencies: empty.clone(),
            classes: BTreeMap::new(),
            empty,
            succeeded: 0,
            sent: 0,
            answered: 0,
            lost: 0,
            broken: 0,
            statuses: BTreeMap::new(),
            created: Vec::new(),
        }),
    });
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut tasks = JoinSet::new();
            for (index, connection) in connections.into_iter().enumerate() {
                tasks.spawn_local(Rc::clone(&run).serve(index, connection));
            }
            let all = async { while tasks.join_next().await.is_some() {} };
            let _ = tokio::time::timeout_at(run.end + GRACE, all).await;
            tasks.shutdown().await;
        })
        .await;
    Ok(run.outcome())
}

impl Run {
    /// One connection's loop.
    async fn serve(self: Rc<Self>, index: usize, connection: Connection<Full<Bytes>>) {
        let requests = &self.plan.requests;
        let mut pace = Pace::new(&self.plan, index);
        let mut connection = Some(connection);
        let mut next = index * requests.len() / self.plan.connections;
        loop {
            let intended = pace.next().await;
            if intended >= self.end || Instant::now() >= self.end {
                return;
            }
            let open = match connection.take().filter(Connection::is_open) {
                Some(open) => open,
                None => match Connection::open(&self.plan.server).await {
                    Ok(open) => open,
                    Err(_) => {
                        self.tally.borrow_mut().broken += 1;
                        tokio::time::sleep(RECONNECT).await;
                        continue;
                    }
                },
            };
            let open = connection.insert(open);
            let prepared = &requests[next % requests.len()];
            next += 1;
            self.tally.borrow_mut().sent += 1;
            match open.exchange(prepared.request(&self.host), |_| ()).await {
                Ok(head) => self.note(prepared, intended, &head),
                Err(_) => {
                    let mut tally = self.tally.borrow_mut();
                    tally.lost += 1;
                    tally.broken += 1;
                    connection = None;
                }
            }
        }
    }

    fn note(&self, request: &Prepared, intended: Instant, head: &Response<()>) {
        let now = Instant::now();
        let tally = &mut *self.tally.borrow_mut();
        tally.answered += 1;
        *tally.statuses.entry(head.status().as_u16()).or_default() += 1;
        if head.status() == StatusCode::CREATED {
            let id = head
                .headers()
                .get(LOCATION)
                .and_then(|path| path.to_str().ok())
                .and_then(id_in);
            tally.created.extend(id.map(|id| (request.tenant, id)));
        }
        if now >= self.measured_from && now < self.end {
            let micros = u64::try_from((now - intended).as_micros()).unwrap_or(LONGEST_MICROS);
            tally.latencies.saturating_record(micros);
            let class = tally.classes.entry(request.class);
            class
                .or_insert_with(|| tally.empty.clone())
                .saturating_record(micros);
            tally.succeeded += u64::from(head.status().is_success());
        }
    }

    // Rates and latencies are measurements, not money.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    fn outcome(&self) -> Outcome {
        let mut tally = self.tally.borrow_mut();
        let latencies = &tally.latencies;
        let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        Outcome {
            connections: self.plan.connections,
            rate: tally.succeeded as f64 / self.plan.duration.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: tally.latencies.max() as f64 / 1_000.0,
            classes: tally
                .classes
                .iter()
                .map(|(class, micros)| (*class, Latency::of(micros)))
                .collect(),
            broken: tally.broken,
            unanswered: tally.sent.saturating_sub(tally.answered + tally.lost),
            statuses: std::mem::take(&mut tally.statuses),
            created: std::mem::take(&mut tally.created),
        }
    }
}

/// The id at the end of `/v1/invoices/<id>`.
fn id_in(location: &str) -> Option<Uuid> {
    location
        .rsplit('/')
        .next()
        .and_then(|id| Uuid::try_parse(id).ok())
}

/// When a connection sends its next request.
struct Pace {
    next: Instant,
    step: Option<Duration>,
}

impl Pace {
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    fn new(plan: &Plan, index: usize) -> Self {
        let start = Instant::now();
        let gap = plan.rate.filter(|rate| *rate > 0.0).map(|rate| 1.0 / rate);
        // Bounded, so that no rate overflows a duration.
        let seconds = |seconds: f64| Duration::from_secs_f64(seconds.min(3600.0));
        Self {
            // The connections take turns, evenly.
            next: start + gap.map_or(Duration::ZERO, |gap| seconds(gap * index as f64)),
            step: gap.map(|gap| seconds(gap * plan.connections as f64)),
        }
    }

    /// Waits for the planned time of the next request, and answers it.
    async fn next(&mut self) -> Instant {
        let Some(step) = self.step else {
            return Instant::now();
        };
        let planned = self.next;
        self.next += step;
        if planned > Instant::now() {
            tokio::time::sleep_until(planned).await;
        }
        planned
    }
}
