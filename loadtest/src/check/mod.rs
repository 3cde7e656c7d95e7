//! An independent check of a whole system: clients do everything that clients do while things
//! break, and a judge decides afterwards whether what they were answered can be true.
//!
//! In the spirit of Jepsen and of TigerBeetle's Vortex: the system runs as it does in production,
//! behind HTTP; whatever breaks is broken from outside. The judge shares no code with the server.
//! It finds what was answered and is lost, what was asked once and done twice, what was refused and
//! done all the same, numbers given twice, sums that are off, rows at another tenant's, events that
//! are missing, and reads that forget.
//!
//! [`history`] is what clients write down, [`faults`] what breaks, [`judge`](judge()) what follows.

mod account;
pub(crate) mod client;
mod documents;
pub mod faults;
pub mod history;
mod journal;
mod judge;
mod kept;
mod money;
mod stored;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use hyper::{Method, StatusCode};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub use faults::{Fault, Inflicted};
use judge::Calm;
pub use judge::{Violation, judge};
pub use money::faults as arithmetic;

use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};
use crate::load::setup::Tenant;
use account::Account;
use client::Client;
use history::{Call, Conclusion, What};
use journal::Journal;
use kept::KeptAnswers;
use stored::{Reader, Stored};
use work::{Shared, Worker};

/// How long servers may take to be ready again when nothing breaks them any more.
const RECOVERY: Duration = Duration::from_secs(180);

/// After the last fault that may hurt everybody: connections are opened again.
const SETTLES: Duration = Duration::from_secs(5);
/// Customers of each tenant that are erased before operators' work meets a broken archive.
const LAST_ERASURES: usize = 3;

/// What is checked, and how hard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers of one system; a call goes to any of them.
    pub servers: Vec<Server>,
    /// The admin key: tenants are made for the run.
    pub admin_key: String,
    /// How long clients work.
    pub duration: Duration,
    /// Clients that work side by side.
    pub clients: usize,
    /// Tenants to make, two at least.
    pub tenants: u32,
    /// Calls per second of all clients together, at most.
    pub rate: u32,
    /// Makes the same choices again, as far as the system's answers allow.
    pub seed: u64,
    /// How long one answer is waited for. An answer that takes longer is a violation.
    pub patience: Duration,
    /// What breaks meanwhile.
    pub faults: Vec<Fault>,
    /// Faults that may happen at once.
    pub lanes: usize,
    /// The mean pause between two faults of a lane.
    pub pause: Duration,
    /// The last part of the duration, in which only [sparing](Fault::sparing) faults happen. The
    /// last tenant has no archive: in this part none of its calls may fail. Zero for no such part.
    pub calm: Duration,
    /// What is done when all is over, before the end is read: an operator's work that erasures wait
    /// for, for instance.
    pub finish: Vec<Fault>,
    /// The same, done after that with the first tenant's archive broken, which must be whole again
    /// afterwards. Names that every tenant asks to erase before it must then be gone, but for the
    /// first tenant's. Empty for nothing of this.
    pub broken: Vec<Fault>,
    /// Where every call is written to, a JSON object a line.
    pub journal: Option<PathBuf>,
}

impl Settings {
    /// The time from one call of a client to its next.
    fn pause_of_clients(&self) -> Duration {
        let clients = u32::try_from(self.clients).unwrap_or(u32::MAX);
        Duration::from_secs(1).saturating_mul(clients) / self.rate.max(1)
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The tenants could not be made.
    #[error("tenants cannot be made: {0}")]
    Setup(#[from] HttpError),
    /// The journal could not be written.
    #[error("the journal cannot be written: {0}")]
    Journal(#[from] std::io::Error),
    /// Two tenants, a client and a server are the least.
    #[error("{0}")]
    Settings(&'static str),
    /// The system does not come back, or does not answer.
    #[error("the end cannot be read: {0}")]
    End(String),
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Calls by kind: how many, done, refused, and unknown.
    pub calls: BTreeMap<String, [u64; 3]>,
    /// Attempts that had no answer.
    pub broken: u64,
    /// Documents in the end, and how many of them in the archive.
    pub documents: [usize; 2],
    /// What broke, and when.
    pub faults: Vec<Inflicted>,
    /// Violations by kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Each of them.
    pub violations: Vec<Violation>,
}

/// Runs clients and faults, reads what is there in the end, and judges.
///
/// # Errors
/// [`CheckError`]: nothing can be said then. Violations are in the report.
pub async fn check(settings: Settings) -> Result<Report, CheckError> {
    if settings.servers.is_empty() || settings.tenants < 2 || settings.clients == 0 {
        return Err(CheckError::Settings(
            "a check takes a server, a client and two tenants",
        ));
    }
    let settings = Arc::new(settings);
    let accounts = accounts(&settings).await?;
    let start = Instant::now();
    let shared = Arc::new(Shared {
        accounts,
        journal: Journal::new(settings.journal.as_deref())?,
        start,
        until: start + settings.duration,
        settings: Arc::clone(&settings),
        kept: KeptAnswers::default(),
    });
    let calm = shared.until - settings.calm.min(settings.duration);
    let workers =
        (0..settings.clients).map(|number| tokio::spawn(Worker::new(&shared, number).work()));
    let breaking = (0..settings.lanes).map(|lane| {
        let chance =
            ChaCha8Rng::seed_from_u64(settings.seed.wrapping_mul(1_000).wrapping_add(lane as u64));
        faults::inflict(
            &settings.faults,
            settings.pause,
            chance,
            (start, calm, shared.until),
        )
    });
    let (inflicted, ended) = tokio::join!(join_all(breaking), join_all(workers));
    let mut inflicted = inflicted.concat();
    inflicted.sort_by_key(|one| one.begun);
    if ended.iter().any(Result::is_err) {
        return Err(CheckError::End("a client ended in a panic".to_owned()));
    }
    recovered(&settings).await?;
    let calm = calm_of(&shared, calm, &inflicted);
    done(&settings.finish, start, &mut inflicted).await;
    last_erasures(&shared).await;
    done(&settings.broken, start, &mut inflicted).await;
    let (calls, mut violations) = shared.journal.take();
    let stored = read_all(&shared, &calls).await.map_err(CheckError::End)?;
    violations.extend(judge(&calls, &stored));
    if let Some(calm) = calm {
        violations.extend(judge::bystanders(&calls, &calm, &inflicted));
    }
    let mut client = Client::new(settings.servers[0].clone(), start, settings.patience);
    let kept = shared
        .kept
        .judge(&mut client, &shared.accounts, &stored)
        .await;
    violations.extend(kept);
    violations.sort();
    violations.dedup();
    Ok(report(&calls, &stored, inflicted, violations))
}

/// When nothing broke that may hurt the last tenant.
fn calm_of(shared: &Shared, calm: Instant, inflicted: &[Inflicted]) -> Option<Calm> {
    let settings = &shared.settings;
    if settings.calm.is_zero() {
        return None;
    }
    let harsh = inflicted.iter().filter(|one| !one.spares);
    let last = harsh.map(|one| one.ended).max().unwrap_or_default();
    Some(Calm {
        tenant: shared.accounts.len() - 1,
        from: last.max(calm - shared.start) + SETTLES,
        until: shared.until - shared.start,
    })
}

/// Does operators' work, one after the other.
async fn done(work: &[Fault], start: Instant, inflicted: &mut Vec<Inflicted>) {
    for fault in work {
        let begun = start.elapsed();
        let failed = fault.inflict().await.err();
        inflicted.push(Inflicted {
            name: fault.name.clone(),
            spares: fault.spares,
            begun,
            ended: start.elapsed(),
            failed,
        });
    }
}

/// Every tenant asks for somebody to be erased, before operators' work meets the broken archive.
async fn last_erasures(shared: &Shared) {
    let settings = &shared.settings;
    if settings.broken.is_empty() {
        return;
    }
    for (tenant, account) in shared.accounts.iter().enumerate() {
        let server = settings.servers[0].clone();
        let mut client = Client::new(server, shared.start, settings.patience);
        for number in 0..LAST_ERASURES {
            let Some((customer, id)) = account.to_erase() else {
                break;
            };
            let path = format!("/v1/customers/{id}/erasure");
            let name = format!("last-{tenant}-{number}");
            let ask = client::Ask {
                request_id: name.clone(),
                ..client::Ask::new(Method::PUT, path, &account.tenant.api_key)
            };
            let call = Call {
                name,
                tenant,
                what: What::Erase { customer, id },
                keyed: false,
                doubled: false,
                attempts: vec![client.send(&ask).await.attempt],
            };
            shared.journal.write(call, &[]);
        }
    }
}

fn report(
    calls: &[Call],
    stored: &[Stored],
    faults: Vec<Inflicted>,
    violations: Vec<Violation>,
) -> Report {
    let mut by_kind: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for call in calls {
        let name = format!("{:?}", call.what);
        let name = name
            .split([' ', '(', '{'])
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let column = match call.conclusion() {
            Conclusion::Done => 0,
            Conclusion::Refused => 1,
            Conclusion::Unknown => 2,
        };
        by_kind.entry(name).or_default()[column] += 1;
    }
    let attempts = calls.iter().flat_map(|call| &call.attempts);
    let broken = attempts
        .filter(|attempt| attempt.answer.status == 0)
        .count() as u64;
    let documents = || stored.iter().flat_map(|stored| stored.documents.values());
    let mut kinds = BTreeMap::new();
    for violation in &violations {
        *kinds.entry(violation.kind).or_default() += 1;
    }
    let documents = [
        documents().count(),
        documents().filter(|one| one.cold).count(),
    ];
    Report {
        calls: by_kind,
        broken,
        documents,
        faults,
        kinds,
        violations,
    }
}

/// Tenants with a key that may do everything. Every other one counts its numbers through the years.
async fn accounts(settings: &Settings) -> Result<Vec<Account>, HttpError> {
    let mut connection: Connection<AnyBody> = Connection::open(&settings.servers[0]).await?;
    let mut accounts = Vec::new();
    let name = format!("check {}", Uuid::new_v4());
    for number in 0..settings.tenants {
        let body = json!({"name": format!("{name} {number}")});
        let admin = &settings.admin_key;
        let tenant = post(&mut connection, Method::POST, "/v1/tenants", admin, &body).await?;
        let id = tenant["id"]
            .as_str()
            .and_then(|id| Uuid::parse_str(id).ok());
        let id = id.ok_or_else(|| HttpError::Answer("a new tenant has no id".to_owned()))?;
        let body = json!({"name": "check", "role": "admin"});
        let path = format!("/v1/tenants/{id}/api-keys");
        let key = post(&mut connection, Method::POST, &path, admin, &body).await?;
        let api_key = key["api_key"].as_str().unwrap_or_default().to_owned();
        if number % 2 == 1 {
            let series = json!({"prefix": "R-", "padding": 6});
            let path = "/v1/number-series/invoice";
            post(&mut connection, Method::PUT, path, &api_key, &series).await?;
        }
        let bystander = !settings.calm.is_zero() && number + 1 == settings.tenants;
        accounts.push(Account::new(Tenant { id, api_key }, bystander));
    }
    Ok(accounts)
}

async fn post(
    connection: &mut Connection<AnyBody>,
    method: Method,
    path: &str,
    credential: &str,
    body: &Value,
) -> Result<Value, HttpError> {
    let body = whole(body.to_string());
    let (status, answer) = connection
        .json(method, path, credential, "application/json", body)
        .await?;
    match status {
        StatusCode::CREATED | StatusCode::OK => Ok(answer),
        _ => Err(HttpError::Answer(format!(
            "{path} answered {status}: {answer}"
        ))),
    }
}

/// Waits until every server is ready.
async fn recovered(settings: &Settings) -> Result<(), CheckError> {
    let deadline = Instant::now() + RECOVERY;
    for server in &settings.servers {
        let mut client = Client::new(server.clone(), Instant::now(), settings.patience);
        loop {
            let ask = client::Ask::new(Method::GET, "/readyz", "");
            let told = client.send(&ask).await;
            if told.status() == 200 {
                break;
            }
            if Instant::now() >= deadline {
                let text = format!(
                    "{} is not ready again: {}",
                    server.authority(),
                    told.status()
                );
                return Err(CheckError::End(text));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

/// What every tenant has in the end.
async fn read_all(shared: &Shared, calls: &[Call]) -> Result<Vec<Stored>, String> {
    let settings = &shared.settings;
    let readers = shared
        .accounts
        .iter()
        .enumerate()
        .map(|(number, account)| async move {
            let server = settings.servers[number % settings.servers.len()].clone();
            let client = Client::new(server, shared.start, settings.patience);
            let erased: Vec<Uuid> = calls
                .iter()
                .filter(|call| call.tenant == number && call.conclusion() == Conclusion::Done)
                .filter_map(|call| match &call.what {
                    What::Erase { id, .. } => Some(*id),
                    _ => None,
                })
                .collect();
            Reader {
                client,
                tenant: &account.tenant,
            }
            .read(&erased)
            .await
            .map(|stored| Stored {
                swept: number > 0 && !settings.broken.is_empty(),
                ..stored
            })
        });
    try_join_all(readers).await
}
