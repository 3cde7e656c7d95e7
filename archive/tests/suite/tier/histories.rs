//! Generated histories of tenants, with kills and a storage that fails: after every step each
//! invoice is in one tier, says what it said, and none is missing or double.
//!
//! `SHEAF_HISTORIES` is how many (1,000). Each has a tenant of its own; some run side by side. A
//! history that breaks an invariant is shrunk and printed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::cluster::{self, Park, World, kill_at, kill_compaction_at, world_over};
use chrono::Utc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sheaf_archive::object::storage::{Counting, StorageError};
use sheaf_archive::{ArchiveError, ErasureOptions, Silent, Step, Tier};
use sheaf_model::invoice::lifecycle::NewPayment;
use sheaf_model::{Invoice, Kind, Period, Status};
use sheaf_store::{Cause, Command, ERASED_NAME, ListFilter, Origin};
use uuid::Uuid;

/// Histories that run side by side.
const LANES: usize = 8;

/// What the storage does to a tenant's calls: every n-th fails, from one on.
type Moods = Arc<Mutex<HashMap<String, (u32, u32)>>>;

/// One thing that happens to a tenant.
#[derive(Debug, Clone)]
enum Act {
    /// Documents arrive: month (some recent), and status.
    Import(Vec<(usize, Status)>),
    /// A run that ends by itself.
    Tier,
    /// A run, or a gc, that is killed at the n-th time that it reaches a step.
    Kill(Step, usize),
    /// The n-th invoice on which something is owed is paid.
    Pay(usize),
    /// What was unsettled is cancelled.
    Settle,
    Gc,
    /// The n-th archived invoice is brought back.
    Recall(usize),
    Compact,
    /// A compaction that is killed likewise.
    KillCompaction(Step, usize),
    /// The customer of the n-th invoice is forgotten.
    Erase(usize),
    /// A run and a compaction over a storage that fails every n-th call.
    Faults(u32),
}

const MONTHS: [&str; 4] = ["2023-12-31", "2024-01-01", "2024-02-15", "2026-11-01"];

fn act() -> impl Strategy<Value = Act> {
    let status = prop_oneof![4 => Just(Status::Paid), 1 => Just(Status::Cancelled),
        2 => Just(Status::Issued)];
    let import = vec((0..MONTHS.len(), status), 1..8).prop_map(Act::Import);
    let kill = (proptest::sample::select(Step::ALL.to_vec()), 0_usize..3)
        .prop_map(|(step, skip)| Act::Kill(step, skip));
    let kill_compaction = (
        proptest::sample::select(Step::ALL[..8].to_vec()),
        0_usize..2,
    )
        .prop_map(|(step, skip)| Act::KillCompaction(step, skip));
    prop_oneof![
        3 => import,
        2 => Just(Act::Tier),
        3 => kill,
        2 => (0_usize..20).prop_map(Act::Pay),
        1 => Just(Act::Settle),
        1 => Just(Act::Gc),
        2 => (0_usize..20).prop_map(Act::Recall),
        1 => Just(Act::Compact),
        2 => kill_compaction,
        1 => (0_usize..20).prop_map(Act::Erase),
        2 => (1_u32..6).prop_map(Act::Faults),
    ]
}

/// A tenant, and what it must be able to read.
struct History {
    world: World,
    moods: Moods,
    /// By id.
    expected: BTreeMap<Uuid, Invoice>,
    imported: usize,
}

impl History {
    async fn read(&self) -> BTreeMap<Uuid, Invoice> {
        let listed = self.world.walk(&ListFilter::default(), 50, None).await;
        listed.into_iter().map(|(i, _)| (i.id, i)).collect()
    }

    async fn play(&mut self, act: Act) -> Result<(), TestCaseError> {
        let world = &self.world;
        match act {
            Act::Import(list) => self.import(list).await?,
            Act::Tier => drop(world.tier().await),
            Act::Kill(step, skip) => drop(kill_at(world, Park::at(step, skip)).await),
            Act::Pay(nth) => self.pay(nth).await?,
            Act::Settle => {
                let statement = "update invoices set status = 'cancelled', amount_due = 0, version \
                    = version + 1 \
                                 where tenant_id = $1 and status in ('issued', 'partially_paid')";
                let sql = cluster::sql().await;
                sql.execute(statement, &[&world.tenant.0]).await.unwrap();
                self.expected = self.read().await;
            }
            Act::Gc => {
                world.gc(&world.archive, Duration::ZERO, false).await;
            }
            Act::Recall(nth) => {
                let cold = world
                    .walk(&ListFilter::default(), 100, Some(Tier::Cold))
                    .await;
                if let Some((invoice, _)) = cold.get(nth % cold.len().max(1)) {
                    world.recall(invoice.id).await;
                }
            }
            Act::Compact => {
                world.compact().await;
            }
            Act::KillCompaction(step, skip) => {
                kill_compaction_at(world, Park::at(step, skip)).await;
            }
            Act::Erase(nth) => self.erase(nth).await?,
            Act::Faults(every) => {
                let tenant = world.tenant.to_string();
                let mood = (every, 0);
                self.moods.lock().unwrap().insert(tenant.clone(), mood);
                // Whatever they come to, nothing may be lost.
                let _ = world.try_tier(&world.archive).await;
                let _ = world.try_compact(&world.archive).await;
                self.moods.lock().unwrap().remove(&tenant);
            }
        }
        Ok(())
    }

    async fn import(&mut self, list: Vec<(usize, Status)>) -> Result<(), TestCaseError> {
        let (before, count) = (self.expected.len(), list.len());
        let invoices = list.into_iter().map(|(month, status)| {
            self.imported += 1;
            self.world.invoice(MONTHS[month], self.imported, status)
        });
        let invoices: Vec<Invoice> = invoices.collect();
        let new: BTreeSet<Uuid> = invoices.iter().map(|i| i.id).collect();
        self.world.create(invoices).await;
        let now = self.read().await;
        prop_assert_eq!(now.len(), before + count);
        for (id, invoice) in &now {
            if let Some(was) = self.expected.get(id) {
                prop_assert_eq!(was, invoice);
            } else {
                prop_assert!(new.contains(id));
            }
        }
        self.expected = now;
        Ok(())
    }

    /// Payments go to hot and to archived invoices alike.
    async fn pay(&mut self, nth: usize) -> Result<(), TestCaseError> {
        let owed: Vec<&Invoice> = self
            .expected
            .values()
            .filter(|i| i.kind == Kind::Invoice && i.status == Status::Issued)
            .collect();
        let Some(invoice) = owed.get(nth % owed.len().max(1)) else {
            return Ok(());
        };
        let payment = NewPayment {
            reference: format!("bank {nth}"),
            amount: invoice.amount_due,
            paid_on: Utc::now().date_naive(),
            method: "bank".into(),
        };
        let (id, total) = (invoice.id, invoice.total);
        self.world.change(id, Command::Pay(payment)).await;
        let now = self.read().await;
        prop_assert_eq!(now[&id].status, Status::Paid);
        prop_assert_eq!(now[&id].amount_paid, total);
        let others = |all: &BTreeMap<Uuid, Invoice>| {
            let mut all = all.clone();
            all.remove(&id);
            all
        };
        prop_assert_eq!(others(&now), others(&self.expected));
        self.expected = now;
        Ok(())
    }

    async fn erase(&mut self, nth: usize) -> Result<(), TestCaseError> {
        let named = |i: &&Invoice| i.customer.as_ref().is_some_and(|c| c.name != ERASED_NAME);
        let known: Vec<&Invoice> = self.expected.values().filter(named).collect();
        let Some(customer) = known
            .get(nth % known.len().max(1))
            .and_then(|i| i.customer_id)
        else {
            return Ok(());
        };
        let world = &self.world;
        let cause = Cause::new(Origin::new("test", "req-9"), Utc::now());
        let asked = world.store.request_erasure(world.tenant, customer, &cause);
        asked.await.unwrap();
        let options = ErasureOptions {
            tenant: Some(world.tenant),
            grace: Duration::ZERO,
            clock_skew: Duration::ZERO,
            as_of: Utc::now(),
        };
        while let Err(error) = world.archive.run_erasures(options, &Silent).await {
            prop_assert!(matches!(error, ArchiveError::AlreadyRunning), "{}", error);
        }
        let now = self.read().await;
        prop_assert!(now.keys().eq(self.expected.keys()));
        for (id, invoice) in &now {
            let was = &self.expected[id];
            let mut forgotten = was.clone();
            if was.customer_id == Some(customer) && was.customer != invoice.customer {
                prop_assert_eq!(&invoice.customer.as_ref().unwrap().name, ERASED_NAME);
                forgotten.customer.clone_from(&invoice.customer);
                forgotten.version = invoice.version;
                forgotten.modified_at = invoice.modified_at;
            }
            prop_assert_eq!(&forgotten, invoice);
            prop_assert!(
                invoice.customer_id != Some(customer)
                    || invoice
                        .customer
                        .as_ref()
                        .is_none_or(|c| c.name == ERASED_NAME)
            );
        }
        self.expected = now;
        Ok(())
    }

    /// The invariants, whatever happened.
    async fn check(&self) -> Result<(), TestCaseError> {
        let now: BTreeMap<Uuid, Vec<u8>> = self.world.bodies().await.into_iter().collect();
        let expected = self.expected.iter().map(|(id, i)| (*id, i.render()));
        prop_assert_eq!(&now, &expected.collect());
        let ids: Vec<Uuid> = now.keys().copied().collect();
        self.world.assert_one_tier(&ids).await;
        Ok(())
    }

    /// What is left is put in order, and then nothing is left to do.
    async fn end(&self) -> Result<(), TestCaseError> {
        let world = &self.world;
        world.tier().await;
        world.compact().await;
        world.gc(&world.archive, Duration::ZERO, false).await;
        self.check().await?;
        let report = world.verify().await;
        prop_assert!(report.is_clean() && report.unpublished == 0, "{:?}", report);
        let horizon = Period {
            year: 2025,
            month: 11,
        };
        let hot = world
            .walk(&ListFilter::default(), 100, Some(Tier::Hot))
            .await;
        let settled = |i: &Invoice| matches!(i.status, Status::Paid | Status::Cancelled);
        let left = hot
            .iter()
            .filter(|(i, _)| settled(i) && Period::of(i.id) < horizon);
        prop_assert_eq!(left.count(), 0);
        prop_assert_eq!(world.tier().await.invoices, 0);
        Ok(())
    }
}

async fn play(world: World, moods: Moods, acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut history = History {
        world,
        moods,
        expected: BTreeMap::new(),
        imported: 0,
    };
    for act in acts {
        history.play(act).await?;
        history.check().await?;
    }
    history.end().await
}

/// A storage of many tenants, each with its mood.
fn moody(moods: Moods) -> impl Fn(&str, &str) -> Option<StorageError> + Send + Sync {
    move |_, key| {
        let tenant = key.split_once("tenant_id=")?.1.get(..36)?;
        let mut moods = moods.lock().unwrap();
        let (every, calls) = moods.get_mut(tenant)?;
        *calls += 1;
        calls.is_multiple_of(*every).then(|| match *calls % 2 {
            0 => StorageError::Unavailable {
                key: key.to_owned(),
                detail: "broken by the test".into(),
            },
            _ => StorageError::Throttled {
                key: key.to_owned(),
                detail: "broken by the test".into(),
            },
        })
    }
}

#[test]
fn random_histories_with_kills_and_faults_keep_the_invariants() {
    let count = std::env::var("SHEAF_HISTORIES").map_or(1_000, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let moods = Moods::default();
    let fault = Box::new(moody(moods.clone()));
    let all = runtime.block_on(world_over("histories", |s3| {
        Counting::new(s3).with_fault(fault)
    }));
    let lane = |lane: usize| {
        let config = Config {
            cases: u32::try_from((count + LANES - 1 - lane) / LANES).unwrap(),
            max_shrink_iters: 20,
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&vec(act(), 3..10), |acts| {
            runtime.block_on(async {
                let world = all.sibling("history").await;
                let played = tokio::spawn(play(world, moods.clone(), acts));
                played
                    .await
                    .map_err(|e| TestCaseError::fail(e.to_string()))?
            })
        });
        outcome.map_err(|e| e.to_string())
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|n| scope.spawn(move || lane(n))).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap());
        ended.filter_map(Result::err).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
