//! What the system holds in the end, as it tells over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;
use uuid::Uuid;

use super::client::{Ask, Client, Told};
use super::history::Seen;
use crate::load::setup::Tenant;

/// Attempts of one read, and the pause between two: the system is whole again, but may still be
/// starting.
const ATTEMPTS: usize = 120;
const PAUSE: Duration = Duration::from_millis(500);
/// The event feed stays behind open transactions for a moment.
const MOMENT: Duration = Duration::from_secs(40);
/// And behind those of two-phase commits that a killed coordinator left open: Citus settles these
/// once a minute (`citus.recover_2pc_interval`).
const TWO_PHASE: Duration = Duration::from_secs(180);

/// An invoice in the end.
#[derive(Clone, Debug)]
pub struct Document {
    /// As a read by id showed it.
    pub seen: Seen,
    /// The body.
    pub body: Value,
    /// From the archive.
    pub cold: bool,
    /// Its history.
    pub events: Vec<Value>,
}

/// What a tenant has in the end.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The tenant.
    pub tenant: Uuid,
    /// Every invoice that its list shows.
    pub documents: BTreeMap<Uuid, Document>,
    /// What is wrong with the reads themselves: an invoice listed twice, or listed and not found.
    pub faults: Vec<String>,
    /// The feed of all its events, in its order.
    pub feed: Vec<Value>,
    /// How far erasures are, by customer.
    pub receipts: BTreeMap<Uuid, String>,
    /// Whatever its receipts say: a run of erasure came after all its requests, and its archive was
    /// whole.
    pub swept: bool,
}

/// How far the feed is.
enum Feed {
    /// It has the last event of each hot document.
    Whole,
    /// It has some event of each. The last one by its id may be one of those that a recall brought
    /// back from the archive, which are not told again: the clocks of processes differ.
    Behind,
    /// Of some documents it has nothing.
    LacksDocuments,
}

impl Stored {
    fn standing_of_feed(&self) -> Feed {
        let id = |event: &Value| event["id"].as_str().map(str::to_owned);
        let told: BTreeSet<String> = self.feed.iter().filter_map(id).collect();
        let mut standing = Feed::Whole;
        for document in self.documents.values().filter(|one| !one.cold) {
            let ids: BTreeSet<String> = document.events.iter().filter_map(id).collect();
            if ids.is_disjoint(&told) {
                return Feed::LacksDocuments;
            }
            if ids.last().is_some_and(|last| !told.contains(last)) {
                standing = Feed::Behind;
            }
        }
        standing
    }
}

/// Reads one tenant.
pub(super) struct Reader<'a> {
    pub(super) client: Client,
    pub(super) tenant: &'a Tenant,
}

impl Reader<'_> {
    async fn get(&mut self, path: String) -> Result<Told, String> {
        let ask = Ask::new(Method::GET, path, &self.tenant.api_key);
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let told = self.client.send(&ask).await;
            match told.status() {
                200 | 404 => return Ok(told),
                status => last = format!("{status} {}", told.attempt.answer.code),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!(
            "GET {} is not answered in the end: {last}",
            ask.path
        ))
    }

    /// All pages of a list.
    async fn pages(&mut self, path: &str) -> Result<Vec<(Told, Value)>, String> {
        let mut pages = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let more = cursor
                .map(|cursor| format!("&cursor={cursor}"))
                .unwrap_or_default();
            let told = self.get(format!("{path}{more}")).await?;
            let json = told.json();
            cursor = json["next_cursor"].as_str().map(str::to_owned);
            let more = json["has_more"] == true && cursor.is_some();
            pages.push((told, json));
            if !more {
                return Ok(pages);
            }
        }
    }

    /// Everything of the tenant.
    ///
    /// # Errors
    /// A read that is not answered, however often it is tried.
    pub(super) async fn read(&mut self, erased: &[Uuid]) -> Result<Stored, String> {
        let mut stored = Stored {
            tenant: self.tenant.id,
            ..Stored::default()
        };
        for (told, _) in self.pages("/v1/invoices?limit=100").await? {
            for listed in told.attempt.answer.seen {
                self.document(&listed, &mut stored).await?;
            }
        }
        for customer in erased {
            let told = self
                .get(format!("/v1/customers/{customer}/erasure"))
                .await?;
            let status = told.json()["status"].as_str().unwrap_or("none").to_owned();
            stored.receipts.insert(*customer, status);
        }
        let begun = Instant::now();
        loop {
            let pages = self.pages("/v1/events?limit=100").await?;
            let events = |page: &(Told, Value)| page.1["data"].as_array().cloned();
            stored.feed = pages.iter().filter_map(events).flatten().collect();
            let waited = begun.elapsed();
            let is_whole = match stored.standing_of_feed() {
                Feed::Whole => true,
                Feed::Behind => waited >= MOMENT,
                Feed::LacksDocuments => waited >= TWO_PHASE,
            };
            if is_whole {
                return Ok(stored);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn document(&mut self, listed: &Seen, stored: &mut Stored) -> Result<(), String> {
        let id = listed.id;
        if stored.documents.contains_key(&id) {
            stored.faults.push(format!("invoice {id} is listed twice"));
            return Ok(());
        }
        let told = self.get(format!("/v1/invoices/{id}")).await?;
        let Some(seen) = told.attempt.answer.seen.first().cloned() else {
            stored
                .faults
                .push(format!("invoice {id} is listed, but a read finds nothing"));
            return Ok(());
        };
        if seen != *listed {
            stored
                .faults
                .push(format!("invoice {id} is listed otherwise than it is read"));
        }
        let mut events = Vec::new();
        for (_, page) in self
            .pages(&format!("/v1/invoices/{id}/events?limit=100"))
            .await?
        {
            events.extend(page["data"].as_array().cloned().unwrap_or_default());
        }
        let document = Document {
            seen,
            body: told.json(),
            cold: told.cold,
            events,
        };
        stored.documents.insert(id, document);
        Ok(())
    }
}
