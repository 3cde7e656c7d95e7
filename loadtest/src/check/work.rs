//! The clients: each does one thing after another for a tenant, and writes down what it asked and
//! was answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Settings;
use super::account::Account;
use super::client::{Ask, Client, Told};
use super::documents::{ISSUED, document};
use super::history::{Call, Conclusion, SECRET, What, key_answer};
use super::journal::Journal;
use super::kept::{Again, KeptAnswers};
use crate::load::http::Server;

/// Attempts of one call, and the pause between two.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(250);

/// What all clients share.
pub(super) struct Shared {
    pub(super) kept: KeptAnswers,
    pub(super) settings: Arc<Settings>,
    pub(super) accounts: Vec<Account>,
    pub(super) journal: Journal,
    pub(super) start: Instant,
    pub(super) until: Instant,
}

/// One client.
pub(super) struct Worker {
    shared: Arc<Shared>,
    number: usize,
    calls: u64,
    chance: ChaCha8Rng,
    /// For each server, two: calls may be sent twice at once.
    clients: Vec<[Client; 2]>,
}

/// A call before it is sent.
struct Plan<'a> {
    what: What,
    method: Method,
    path: String,
    credential: &'a str,
    content_type: &'static str,
    body: Bytes,
    keyed: bool,
    cut: Option<usize>,
}

impl<'a> Plan<'a> {
    fn get(what: What, path: String, credential: &'a str) -> Self {
        Self {
            method: Method::GET,
            ..Self::post(what, path, credential, Bytes::new())
        }
    }

    fn post(what: What, path: String, credential: &'a str, body: impl Into<Bytes>) -> Self {
        Self {
            what,
            method: Method::POST,
            path,
            credential,
            content_type: "application/json",
            body: body.into(),
            keyed: false,
            cut: None,
        }
    }

    fn keyed(self, keyed: bool) -> Self {
        Self { keyed, ..self }
    }
}

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>, number: usize) -> Self {
        let settings = &shared.settings;
        let seed = settings.seed.wrapping_add(number as u64 + 1);
        let open = |server: &Server| Client::new(server.clone(), shared.start, settings.patience);
        let clients = settings
            .servers
            .iter()
            .map(|server| [open(server), open(server)])
            .collect();
        let chance = ChaCha8Rng::seed_from_u64(seed);
        Self {
            shared: Arc::clone(shared),
            number,
            calls: 0,
            chance,
            clients,
        }
    }

    /// Works until time is up.
    pub(super) async fn work(mut self) {
        let between = self.shared.settings.pause_of_clients();
        let mut next = Instant::now();
        while Instant::now() < self.shared.until {
            self.one().await;
            next = (next + between).max(Instant::now());
            tokio::time::sleep_until(next.into()).await;
        }
    }

    /// Does one thing, chosen by chance.
    async fn one(&mut self) {
        let shared = Arc::clone(&self.shared);
        let tenant = self.chance.random_range(0..shared.accounts.len());
        self.calls += 1;
        let name = format!("c{}-{}", self.number, self.calls);
        if let Some(plan) = plan(&mut self.chance, &shared.accounts, tenant, &name) {
            self.call(&shared.accounts[tenant], tenant, name, plan)
                .await;
        }
    }

    /// Sends until the answer is final, where a key makes that safe; now and then twice at once.
    async fn call(&mut self, account: &Account, tenant: usize, name: String, plan: Plan<'_>) {
        let key = format!("key {name}").replace(' ', "-");
        let doubled = plan.keyed && plan.cut.is_none() && self.chance.random_bool(0.1);
        let mut call = Call {
            name,
            tenant,
            what: plan.what.clone(),
            keyed: plan.keyed,
            doubled,
            attempts: Vec::new(),
        };
        let mut texts = Vec::new();
        let give_up = self.shared.until + self.shared.settings.patience * 4;
        loop {
            let number = call.attempts.len();
            let ask = |number: usize| Ask {
                content_type: plan.content_type,
                key: plan.keyed.then_some(key.as_str()),
                request_id: format!("{}.{number}", call.name),
                body: plan.body.clone(),
                cut: plan.cut.filter(|_| number == 0),
                ..Ask::new(plan.method.clone(), plan.path.clone(), plan.credential)
            };
            let server = self.chance.random_range(0..self.clients.len());
            let [one, other] = &mut self.clients[server];
            let mut told = Vec::with_capacity(2);
            if doubled && number == 0 {
                let (first, second) = (ask(0), ask(1));
                let both = tokio::join!(one.send(&first), other.send(&second));
                told.extend([both.0, both.1]);
            } else {
                told.push(one.send(&ask(number)).await);
            }
            for told in told {
                self.take_in(account, &mut call, told, &mut texts);
            }
            let open = call.conclusion() == Conclusion::Unknown && call.keyed;
            if !open || call.attempts.len() >= ATTEMPTS || Instant::now() >= give_up {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if call.keyed && call.conclusion() == Conclusion::Done {
            let again = Again {
                method: plan.method,
                path: plan.path,
                content_type: plan.content_type,
                key,
                body: plan.body,
            };
            self.shared.kept.keep(&call, again, &texts);
        }
        self.shared.journal.write(call, &texts);
    }

    fn take_in(&self, account: &Account, call: &mut Call, told: Told, texts: &mut Vec<String>) {
        let mut told = told;
        let foreign = matches!(call.what, What::ReadForeign(_));
        for text in &told.invoices {
            let invoice: Value = serde_json::from_str(text).unwrap_or_default();
            self.shared.journal.arithmetic(&call.name, &invoice);
            let own = invoice["tenant_id"] == account.tenant.id.to_string();
            if !own && !foreign {
                self.shared.journal.stranger(&call.name, &invoice);
            }
            if own && !foreign {
                account.learn(&invoice);
            }
        }
        if matches!(call.what, What::Upload { .. }) && told.status() < 300 {
            let summary = told.json();
            let (received, rejected) = (&summary["received"], &summary["rejected"]);
            told.attempt.answer.code = format!("received={received} rejected={rejected}");
        }
        if matches!(call.what, What::MakeKey) && (200..300).contains(&told.status()) {
            let (hash, is_told) = key_answer(told.json());
            told.attempt.answer.hash = hash;
            if is_told {
                SECRET.clone_into(&mut told.attempt.answer.code);
            }
        }
        texts.append(&mut told.invoices);
        call.attempts.push(told.attempt);
    }
}

/// One thing to do, chosen by chance; `None` when nothing is there to do it to.
fn plan<'a>(
    chance: &mut ChaCha8Rng,
    accounts: &'a [Account],
    tenant: usize,
    name: &str,
) -> Option<Plan<'a>> {
    let account = &accounts[tenant];
    let credential = account.tenant.api_key.as_str();
    let roll = chance.random_range(0..100);
    let keyed = chance.random_bool(0.7);
    let on = |id: Uuid, step: &str| format!("/v1/invoices/{id}{step}");
    let post =
        |what, path, body: Value| Plan::post(what, path, credential, body.to_string()).keyed(keyed);
    Some(match roll {
        0..=23 => {
            let customer = chance.random_bool(0.7).then(|| account.customer(chance));
            let document = document(chance, name, customer.as_deref(), !account.bystander);
            post(
                What::Create { customer },
                "/v1/invoices".to_owned(),
                document,
            )
        }
        24..=35 => {
            let id = account.some(chance, |one| one.draft)?.id;
            let day = ISSUED.choose(chance).filter(|_| chance.random_bool(0.6));
            let body = day.map_or_else(|| json!({}), |day| json!({"issue_date": day}));
            post(What::Issue(id), on(id, "/issue"), body)
        }
        36..=55 => {
            let one = account.some(chance, |one| !one.draft && one.due > Decimal::ZERO)?;
            let amount = if chance.random_bool(0.5) {
                one.due
            } else {
                Decimal::ONE.min(one.due)
            };
            let body = json!({"reference": name, "amount": amount.to_string()});
            post(What::Pay(one.id), on(one.id, "/payments"), body)
        }
        56..=58 => {
            let id = account.some(chance, |one| !one.payments.is_empty())?.id;
            let body = json!({"reference": name, "amount": "1"});
            post(What::Refund(id), on(id, "/refunds"), body)
        }
        59..=61 => {
            let one = account.some(chance, |one| !one.payments.is_empty())?;
            let payment = *one.payments.choose(chance)?;
            let body = json!({"reference": name});
            post(
                What::Reverse(one.id),
                on(one.id, &format!("/payments/{payment}/reverse")),
                body,
            )
        }
        62..=66 => {
            let id = account.some(chance, |one| !one.draft)?.id;
            let body = json!({"metadata": {"call": name}});
            post(What::Credit(id), on(id, "/credit-notes"), body)
        }
        67..=72 => {
            let erased = chance.random_bool(0.3);
            let of_erased = erased.then(|| account.of_erased(chance)).flatten();
            let id = of_erased.or_else(|| account.some(chance, |_| true))?.id;
            let plan = post(
                What::Note(id),
                on(id, ""),
                json!({"metadata": {"note": name}}),
            );
            Plan {
                method: Method::PATCH,
                ..plan
            }
        }
        73 => {
            let id = account.some(chance, |_| true)?.id;
            post(What::Cancel(id), on(id, "/cancel"), json!({}))
        }
        74..=76 => {
            let id = account.some(chance, |one| !one.draft)?.id;
            post(What::Recall(id), on(id, "/recall"), json!({}))
        }
        77..=80 => upload(chance, account, name, credential),
        81..=92 => {
            let id = account.some(chance, |_| true)?.id;
            Plan::get(What::Read(id), on(id, ""), credential)
        }
        93..=94 => {
            let id = account.some(chance, |_| true)?.id;
            let other = &accounts[(tenant + 1) % accounts.len()].tenant.api_key;
            Plan::get(What::ReadForeign(id), on(id, ""), other)
        }
        95..=97 => Plan::get(What::List, "/v1/invoices?limit=50".to_owned(), credential),
        98 => post(
            What::MakeKey,
            "/v1/api-keys".to_owned(),
            json!({"name": name}),
        )
        .keyed(true),
        _ => {
            let (customer, id) = account.to_erase()?;
            let plan = post(
                What::Erase { customer, id },
                format!("/v1/customers/{id}/erasure"),
                json!({}),
            );
            Plan {
                method: Method::PUT,
                keyed: false,
                body: Bytes::new(),
                ..plan
            }
        }
    })
}

/// Several documents at once. The client may break off in the middle of the first attempt.
fn upload<'a>(
    chance: &mut ChaCha8Rng,
    account: &Account,
    name: &str,
    credential: &'a str,
) -> Plan<'a> {
    let lines: u32 = chance.random_range(2..30);
    let atomic = chance.random_bool(0.4);
    let mut body = Vec::new();
    for line in 0..lines {
        let customer = chance.random_bool(0.3).then(|| account.customer(chance));
        let name = format!("{name}/{line}");
        let mut document = document(chance, &name, customer.as_deref(), !account.bystander);
        if let Some(fields) = document.as_object_mut() {
            // Numbers that others have would have lines refused.
            fields.remove("number");
        }
        body.extend(document.to_string().into_bytes());
        body.push(b'\n');
    }
    let path = if atomic {
        "/v1/invoices/bulk?atomic=true"
    } else {
        "/v1/invoices/bulk"
    };
    let cut = chance
        .random_bool(0.4)
        .then(|| chance.random_range(1..body.len()));
    let what = What::Upload { lines, atomic };
    let plan = Plan::post(what, path.to_owned(), credential, body).keyed(true);
    Plan {
        content_type: "application/x-ndjson",
        cut,
        ..plan
    }
}
