//! The job of erasure over both tiers: receipts, retention, what is held, what is pending, and
//! whose it is.

use std::time::Duration;

use crate::support::cluster::{World, sql, world};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sheaf_archive::{ArchiveError, ErasureOptions, ErasureSummary, Silent};
use sheaf_local::test_env;
use sheaf_model::{Customer, Status, TenantId};
use sheaf_store::{
    Cause, CustomerError, ERASED_NAME, ErasureRecord, IdFrom, LineOutcome, ListFilter, NewInvoice,
    NewRetention, Origin, PutRetention, Store, StoreConfig,
};
use uuid::Uuid;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const PERSONAL: [&str; 4] = ["Ada Vergessen", "ada@example.org", "Adaweg 1", "ada-key"];

fn cause() -> Cause {
    Cause::new(Origin::new("test", "req-1"), Utc::now())
}

fn ada() -> Customer {
    let [name, email, address, external_id] = PERSONAL.map(str::to_owned);
    Customer {
        name,
        external_id: Some(external_id),
        email: Some(email),
        address: Some(address),
        country: Some("DE".into()),
        ..Customer::default()
    }
}

/// Ada's invoices of two archived years and of the hot one, among others'. Answers her id.
pub(crate) async fn fill(world: &World) -> Uuid {
    let mut invoices = Vec::new();
    for (at, date) in ["2022-03-05", "2023-04-05", "2026-10-05"]
        .into_iter()
        .enumerate()
    {
        for n in 0..4 {
            let status = if date.starts_with("2026") {
                Status::Issued
            } else {
                Status::Paid
            };
            let mut invoice = world.invoice(date, at * 4 + n, status);
            invoice.customer = Some(if n < 2 {
                ada()
            } else {
                Customer {
                    name: "Bea".into(),
                    external_id: Some("bea".into()),
                    ..Customer::default()
                }
            });
            invoices.push(invoice);
        }
    }
    let last = invoices[8].id;
    world.create(invoices).await;
    assert_eq!(world.tier().await.invoices, 8);
    let (invoice, _) = world
        .archive
        .reader()
        .get(world.tenant, last)
        .await
        .unwrap()
        .unwrap();
    invoice.customer_id.unwrap()
}

async fn run(world: &World, as_of: DateTime<Utc>) -> ErasureSummary {
    run_with(world, as_of, Duration::ZERO).await
}

async fn run_with(world: &World, as_of: DateTime<Utc>, clock_skew: Duration) -> ErasureSummary {
    let options = ErasureOptions {
        tenant: Some(world.tenant),
        grace: DAY,
        clock_skew,
        as_of,
    };
    again(|| world.archive.run_erasures(options, &Silent)).await
}

/// The lock may be held by tests of other processes. Nothing may fail in the run.
pub(crate) async fn again<F>(run: impl Fn() -> F) -> ErasureSummary
where
    F: Future<Output = Result<ErasureSummary, ArchiveError>>,
{
    loop {
        match run().await {
            Err(ArchiveError::AlreadyRunning) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            summary => {
                let summary = summary.unwrap();
                assert!(summary.failures.is_empty(), "{summary:?}");
                return summary;
            }
        }
    }
}

pub(crate) async fn receipt(world: &World, customer: Uuid) -> ErasureRecord {
    let receipt = world.store.erasure(world.tenant, customer).await.unwrap();
    receipt.unwrap()
}

/// All documents and histories of both tiers, by year.
pub(crate) async fn told(world: &World) -> Vec<(i32, String)> {
    let mut all = Vec::new();
    for (invoice, _) in world.walk(&ListFilter::default(), 100, None).await {
        let year = chrono::Datelike::year(&invoice.issue_date.unwrap());
        let events = world
            .archive
            .reader()
            .events(world.tenant, invoice.id, None, 100)
            .await;
        all.push((year, format!("{invoice:?} {events:?}")));
    }
    all
}

pub(crate) fn personal(told: &[(i32, String)], year: i32) -> bool {
    told.iter()
        .filter(|(of, _)| *of == year)
        .any(|(_, text)| PERSONAL.iter().any(|word| text.contains(word)))
}

pub(crate) async fn keep(
    store: &Store,
    tenant: TenantId,
    year: i16,
    legal_hold: bool,
    keep_until: Option<NaiveDate>,
) -> i64 {
    let new = NewRetention {
        tenant,
        year,
        legal_hold,
        keep_until,
        expected: None,
        origin: Origin::new("test", "req-2"),
    };
    match store.put_retention(&new).await.unwrap() {
        PutRetention::Stored(setting) => setting.version,
        // It is set, and gc is at an object of the year.
        PutRetention::Deleting(_) => {
            let set = store.retention(tenant).await.unwrap();
            let of_year = set.iter().find(|set| set.year == year).unwrap();
            assert!(of_year.legal_hold);
            of_year.version
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tiers_are_erased_and_the_receipt_ends_when_the_last_copy_is_gone() {
    let (world, theirs) = (world("erasures").await, world("others").await);
    let customer = fill(&world).await;
    let their_customer = fill(&theirs).await;
    let sums = |told: &[(i32, String)]| told.len();
    let (before, their_before) = (told(&world).await, told(&theirs).await);
    assert!(
        [2022, 2023, 2026]
            .iter()
            .all(|year| personal(&before, *year))
    );

    let asked = world
        .store
        .request_erasure(world.tenant, customer, &cause())
        .await
        .unwrap();
    assert_eq!((asked.hot_invoices, asked.passed_at), (0, None));
    let record = world.store.get_customer(world.tenant, customer).await;
    let record = record.unwrap().unwrap();
    assert_eq!(record.fields.customer.name, ERASED_NAME);
    assert_eq!(record.fields.customer.external_id, None);
    assert!(!record.fields.active);
    let now = Utc::now();
    let first = run(&world, now).await;
    assert_eq!((first.erasures, first.completed, first.held), (1, 0, 0));
    assert_eq!((first.files_rewritten, first.invoices), (2, 4));
    let history = world
        .store
        .events_of(world.tenant, customer, None, 100)
        .await;
    let history = format!("{:?}", history.unwrap());
    assert!(
        PERSONAL.iter().all(|word| !history.contains(word)),
        "{history}"
    );
    assert!(history.contains("customer.erased"));
    let after = told(&world).await;
    assert!(
        [2022, 2023, 2026]
            .iter()
            .all(|year| !personal(&after, *year))
    );
    assert_eq!(sums(&after), sums(&before));
    assert_eq!(
        after
            .iter()
            .filter(|(_, text)| text.contains("customer_erased"))
            .count(),
        6
    );
    let open = receipt(&world, customer).await;
    assert_eq!((open.hot_invoices, open.cold_invoices), (2, 4));
    assert!(open.passed_at.is_some() && open.completed_at.is_none());
    // Two objects, and the answers that are kept for requests that are sent again.
    assert_eq!(open.pending.len(), 3, "{open:?}");

    // A second pass changes nothing; a third one reads no file again. When objects and answers are
    // gone, that is all.
    let later = now + TimeDelta::hours(2);
    let again = run(&world, later).await;
    assert_eq!((again.files_rewritten, again.invoices), (0, 0));
    let gets = world.storage.gets();
    let again = run(&world, later).await;
    assert_eq!((again.files_rewritten, again.invoices), (0, 0));
    assert_eq!(world.storage.gets(), gets);
    world.gc(&world.archive, Duration::ZERO, false).await;
    let last = run(&world, now + TimeDelta::days(8)).await;
    assert_eq!((last.erasures, last.completed), (1, 1));
    let done = receipt(&world, customer).await;
    assert_eq!(done.pending, []);
    assert!(done.completed_at.is_some());
    assert_eq!((done.hot_invoices, done.cold_invoices), (2, 4));
    assert_eq!(run(&world, now).await.erasures, 0);

    assert_eq!(told(&theirs).await, their_before);
    let none = theirs.store.erasure(theirs.tenant, customer).await.unwrap();
    assert!(none.is_none() || customer == their_customer);
}

/// Kept answers carry the time of the process that gave them, whose clock may be ahead: a receipt
/// is complete only when those are gone as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_waits_for_answers_of_a_process_whose_clock_is_ahead() {
    let world = world("ahead").await;
    let customer = fill(&world).await;
    let cause = cause();
    let request = world.store.request_erasure(world.tenant, customer, &cause);
    request.await.unwrap();
    run(&world, Utc::now()).await;
    world.gc(&world.archive, Duration::ZERO, false).await;
    let week = Utc::now() + TimeDelta::days(7);
    let skew = Duration::from_secs(15 * 60);
    let early = run_with(&world, week + TimeDelta::minutes(1), skew).await;
    assert_eq!((early.erasures, early.completed), (1, 0));
    let open = receipt(&world, customer).await;
    assert_eq!(open.pending[0].place, "idempotency_keys", "{open:?}");
    let late = run_with(&world, week + TimeDelta::minutes(16), skew).await;
    assert_eq!((late.erasures, late.completed), (1, 1));
}

/// Another process remembers the record for some seconds after it was erased: what it lets in
/// meanwhile is found later.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_came_in_just_after_the_request_is_erased_too() {
    let world = world("late").await;
    let other = {
        let mut config = StoreConfig::new(&test_env().database_url);
        config.cluster.max_connections_per_node = 2;
        Store::connect(config).await.unwrap()
    };
    let create = async |number| {
        let mut invoice = world.invoice("2026-10-05", number, Status::Issued);
        invoice.customer = Some(ada());
        let new = NewInvoice {
            at: invoice.created_at,
            invoice,
            id_from: IdFrom::Server,
            origin: Origin::new("test", "req-1"),
            idem: None,
        };
        other.write_chunk(vec![new]).await.unwrap()
    };
    assert_eq!(create(0).await, [LineOutcome::Created]);
    let list = world
        .walk(&ListFilter::default(), 100, None)
        .await
        .remove(0);
    let customer = list.0.customer_id.unwrap();

    world
        .store
        .request_erasure(world.tenant, customer, &cause())
        .await
        .unwrap();
    run(&world, Utc::now()).await;
    assert!(!personal(&told(&world).await, 2026));
    // Of a new record, where the other process had forgotten the old one: nothing of the erasure's.
    assert_eq!(create(1).await, [LineOutcome::Created]);

    run(&world, Utc::now() + TimeDelta::hours(2)).await;
    let invoices = world.walk(&ListFilter::default(), 100, None).await;
    let of_erased = invoices.iter().map(|(invoice, _)| invoice);
    let of_erased = of_erased.filter(|invoice| invoice.customer_id == Some(customer));
    for invoice in of_erased {
        let shown = invoice.customer.as_ref().unwrap();
        assert_eq!(shown.name, ERASED_NAME, "{}", invoice.id);
    }
}

/// Another process remembers the record for some seconds after it was deleted as well, and its own
/// history tells the name.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_deleted_customer_is_erased() {
    let world = world("deleted").await;
    let (store, tenant) = (&world.store, world.tenant);
    let mut invoice = world.invoice("2026-10-05", 0, Status::Issued);
    invoice.customer = Some(ada());
    world.create(vec![invoice]).await;
    let found = world.walk(&ListFilter::default(), 100, None).await;
    let (invoice, customer) = (found[0].0.id, found[0].0.customer_id.unwrap());
    // The invoice comes in after the deletion: until then it is somebody else's.
    let db = sql().await;
    let give = async |to: Uuid| {
        let update = "update invoices set customer_id = $3 where tenant_id = $1 and id = $2";
        let given = db.execute(update, &[&tenant.0, &invoice, &to]).await;
        assert_eq!(given.unwrap(), 1);
    };
    give(Uuid::now_v7()).await;
    store
        .delete_customer(tenant, customer, None, &cause())
        .await
        .unwrap();
    give(customer).await;
    assert!(personal(&told(&world).await, 2026));

    let asked = store.request_erasure(tenant, customer, &cause()).await;
    assert_eq!(asked.unwrap().hot_invoices, 0);
    run(&world, Utc::now()).await;
    assert!(!personal(&told(&world).await, 2026));
    let history = store.events_of(tenant, customer, None, 100).await.unwrap();
    let history = format!("{history:?}");
    assert!(history.contains("customer.deleted"));
    assert!(
        PERSONAL.iter().all(|word| !history.contains(word)),
        "{history}"
    );
    let done = run(&world, Utc::now() + TimeDelta::days(8)).await;
    assert_eq!((done.erasures, done.completed), (1, 1));
    assert_eq!(receipt(&world, customer).await.hot_invoices, 1);
    // An invoice is no customer, whatever its history.
    let other = store.request_erasure(tenant, invoice, &cause()).await;
    assert!(matches!(other, Err(CustomerError::NotFound)), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_holds_years_until_its_day_and_legal_hold_until_it_is_lifted() {
    let world = world("held").await;
    let customer = fill(&world).await;
    let until = NaiveDate::from_ymd_opt(2031, 1, 1).unwrap();
    keep(&world.store, world.tenant, 2022, true, None).await;
    keep(&world.store, world.tenant, 2026, false, Some(until)).await;
    // A year without any data of hers is not told of.
    keep(&world.store, world.tenant, 2011, true, None).await;
    world
        .store
        .request_erasure(world.tenant, customer, &cause())
        .await
        .unwrap();
    let now = Utc::now();
    assert_eq!(run(&world, now).await.held, 1);
    let after = told(&world).await;
    let shown = [2022, 2023, 2026].map(|year| personal(&after, year));
    assert_eq!(shown, [true, false, true]);
    let held = receipt(&world, customer).await.held;
    let held: Vec<_> = held
        .iter()
        .map(|held| (held.year, held.legal_hold, held.keep_until))
        .collect();
    assert_eq!(held, [(2022, true, None), (2026, false, Some(until))]);

    // Superseded copies of a year on legal hold stay, whatever the grace.
    world.tier().await;
    let later = now + TimeDelta::days(5 * 365);
    run(&world, later).await;
    let after = told(&world).await;
    assert_eq!(
        [2022, 2026].map(|year| personal(&after, year)),
        [true, false]
    );
    keep(&world.store, world.tenant, 2022, false, None).await;
    run(&world, later).await;
    assert!(!personal(&told(&world).await, 2022));
    keep(&world.store, world.tenant, 2022, true, None).await;
    let kept = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((kept.held, kept.superseded), (1, 1));
    assert_eq!(keep(&world.store, world.tenant, 2022, false, None).await, 4);
    let gone = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((gone.held, gone.superseded), (0, 1));
    run(&world, later).await;
    assert!(receipt(&world, customer).await.completed_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_customers_go_with_the_survivor_and_not_by_themselves() {
    let world = world("merged").await;
    let survivor = fill(&world).await;
    let mut invoice = world.invoice("2026-09-01", 99, Status::Issued);
    invoice.customer = Some(Customer {
        name: "Ada Vergessen (double)".into(),
        external_id: Some("double".into()),
        ..Customer::default()
    });
    let id = invoice.id;
    world.create(vec![invoice]).await;
    let reader = world.archive.reader();
    let double = reader.get(world.tenant, id).await.unwrap().unwrap().0;
    let double = double.customer_id.unwrap();
    let cause = cause();
    let merged = world
        .store
        .merge_customer(world.tenant, double, survivor, &cause, None, |_| Vec::new());
    merged.await.unwrap();
    let alone = world
        .store
        .request_erasure(world.tenant, double, &cause)
        .await;
    assert!(
        matches!(&alone, Err(CustomerError::Conflict { code, .. }) if *code == "customer_merged"),
        "{alone:?}"
    );
    let nobody = Uuid::now_v7();
    let nobody = world
        .store
        .request_erasure(world.tenant, nobody, &cause)
        .await;
    assert!(matches!(nobody, Err(CustomerError::NotFound)));
    world
        .store
        .request_erasure(world.tenant, survivor, &cause)
        .await
        .unwrap();
    run(&world, Utc::now()).await;
    let after = told(&world).await;
    assert!(
        [2022, 2023, 2026]
            .iter()
            .all(|year| !personal(&after, *year))
    );
    let record = world.store.get_customer(world.tenant, double).await;
    assert_eq!(record.unwrap().unwrap().fields.customer.name, ERASED_NAME);
}
