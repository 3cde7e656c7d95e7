//! A steady load from clients that retry as the README says, and the account of what they were
//! answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::api::Tenant;

/// Clients; each makes one create and one read a tick.
const CLIENTS: usize = 8;
/// 200 creates and 200 reads a second together.
const TICK: Duration = Duration::from_millis(40);
/// Tries of one request before its client gives up.
const TRIES: u32 = 30;
/// A pause that Retry-After does not name, after a connection that broke.
const PAUSE: Duration = Duration::from_millis(200);

/// One request with its retries.
#[derive(Debug)]
pub struct Call {
    pub tenant: usize,
    /// From the first try to the answer that counted.
    pub took: Duration,
    /// Answers that were not final: the status, or 0 for a broken connection.
    pub retried: Vec<u16>,
    /// The status in the end; 0: given up.
    pub status: u16,
    /// The invoice, where one was made.
    pub id: Option<String>,
}

/// Clients at work.
pub struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Call>>>,
    beside: JoinHandle<Vec<Call>>,
}

/// A call that asks nothing of the database takes so many times less than one that does, in the
/// same moment.
const TIMES: u32 = 10;
/// What a call may take on a machine that has time.
const IN_TIME: Duration = Duration::from_secs(1);

impl Load {
    /// `name` keeps the idempotency keys of one load apart from another's.
    pub fn start(name: &str, url: &str, tenants: &[Tenant]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|number| {
                let client = OneClient {
                    number,
                    name: name.to_owned(),
                    http: Client::new(),
                    url: url.to_owned(),
                    tenants: tenants.to_vec(),
                };
                runtime.spawn(client.run(Arc::clone(&stop)))
            })
            .collect();
        let beside = runtime.spawn(beside(url.to_owned(), Arc::clone(&stop)));
        Self {
            runtime,
            stop,
            clients,
            beside,
        }
    }

    /// Lets every client finish what it began.
    pub fn stop(self) -> Vec<Call> {
        self.stop_and_bound().0
    }

    /// The same, and what the 99th percentile of the calls may be on this machine in this moment.
    pub fn stop_and_bound(self) -> (Vec<Call>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            let mut calls = Vec::new();
            for client in self.clients {
                calls.extend(client.await.unwrap());
            }
            let beside = self.beside.await.unwrap();
            (calls, IN_TIME.max(quantile(&beside, 0.99) * TIMES))
        })
    }
}

/// Asks the server whether it lives, as often as a client works: what keeps this waiting is the
/// machine.
async fn beside(url: String, stop: Arc<AtomicBool>) -> Vec<Call> {
    let (http, mut calls) = (Client::new(), Vec::new());
    loop {
        let start = Instant::now();
        let answer = http.get(format!("{url}/healthz")).send().await;
        calls.push(Call {
            tenant: 0,
            took: start.elapsed(),
            retried: Vec::new(),
            status: answer.map_or(0, |answer| answer.status().as_u16()),
            id: None,
        });
        if stop.load(Ordering::Relaxed) {
            return calls;
        }
        tokio::time::sleep(TICK).await;
    }
}

struct OneClient {
    number: usize,
    name: String,
    http: Client,
    url: String,
    tenants: Vec<Tenant>,
}

impl OneClient {
    async fn run(self, stop: Arc<AtomicBool>) -> Vec<Call> {
        let mut calls = Vec::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0.. {
            ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let tenant = (turn * CLIENTS + self.number) % self.tenants.len();
            let body = json!({
                "currency": "EUR",
                "metadata": {"client": self.number, "turn": turn},
                "lines": [
                    {"description": "seats", "quantity": "3", "unit_price": "9.99"},
                    {"description": "setup", "quantity": "1", "unit_price": "50"},
                ],
            });
            let key = format!("{}-{}-{turn}", self.name, self.number);
            let (call, made) = self.create(tenant, &key, &body).await;
            calls.push(call);
            let Some(id) = made.and_then(|made| made["id"].as_str().map(str::to_owned)) else {
                continue;
            };
            let (read, found) = self.read(tenant, &id).await;
            assert!(
                read.status != 200 || found.is_some_and(|found| found["id"] == id.as_str()),
                "another invoice was answered for {id}"
            );
            calls.push(read);
        }
        calls
    }

    async fn read(&self, tenant: usize, id: &str) -> (Call, Option<Value>) {
        let url = format!("{}/v1/invoices/{id}", self.url);
        let key = &self.tenants[tenant].key;
        let request = || self.http.get(&url).bearer_auth(key);
        self.retry(tenant, request).await
    }

    async fn create(&self, tenant: usize, key: &str, body: &Value) -> (Call, Option<Value>) {
        let url = format!("{}/v1/invoices", self.url);
        let credential = &self.tenants[tenant].key;
        let request = || {
            let request = self.http.post(&url).bearer_auth(credential);
            request.header("Idempotency-Key", key).json(body)
        };
        let (mut call, made) = self.retry(tenant, request).await;
        call.id = made
            .as_ref()
            .and_then(|made| made["id"].as_str().map(str::to_owned));
        (call, made)
    }

    async fn retry(
        &self,
        tenant: usize,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> (Call, Option<Value>) {
        let start = Instant::now();
        let mut retried = Vec::new();
        let (mut status, mut body) = (0, None);
        for _ in 0..TRIES {
            let Ok(answer) = request().send().await else {
                retried.push(0);
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let code = answer.status().as_u16();
            let after = answer.headers().get("retry-after").map(|after| {
                let seconds = after.to_str().unwrap().parse().unwrap();
                Duration::from_secs(seconds)
            });
            if code == 503 || code == 429 {
                retried.push(code);
                tokio::time::sleep(after.expect("Retry-After")).await;
                continue;
            }
            status = code;
            body = answer.json().await.ok();
            break;
        }
        let call = Call {
            tenant,
            took: start.elapsed(),
            retried,
            status,
            id: None,
        };
        (call, body)
    }
}

/// The q-quantile of all durations, 0 to 1.
pub fn quantile(calls: &[Call], q: f64) -> Duration {
    let mut took: Vec<Duration> = calls.iter().map(|call| call.took).collect();
    took.sort_unstable();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_arithmetic
    )]
    let rank = (took.len() as f64 * q) as usize;
    took[rank.min(took.len() - 1)]
}

/// Ids of the creates that were answered, by tenant.
pub fn made(calls: &[Call]) -> BTreeMap<usize, Vec<String>> {
    let mut made: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for call in calls {
        if let Some(id) = &call.id {
            made.entry(call.tenant).or_default().push(id.clone());
        }
    }
    made
}
