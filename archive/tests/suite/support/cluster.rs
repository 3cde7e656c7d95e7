//! A tenant of its own in the local cluster, and an archive whose storage counts.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::object::s3::S3Storage;
use sheaf_archive::object::storage::{ColdStorage, Counting};
use sheaf_archive::{
    Archive, ArchiveError, Checkpoint, CompactOptions, CompactSummary, GcReport, RunOptions,
    RunSummary, S3Config, Silent, Step, Tier, VerifyReport,
};
use sheaf_local::test_env;
use sheaf_model::{
    Credited, CreditedRate, Currency, Customer, Decimal, Invoice, Kind, Line, Metadata, Payment,
    PaymentKind, Status, TaxRounding, TenantId, id,
};
use sheaf_store::{
    Command, CreateOutcome, LineOutcome, ListFilter, NewChange, NewInvoice, NewTenant, Origin,
    Store, StoreConfig, StoreError,
};
use uuid::Uuid;

/// How often, and after which pause, both tiers are read again where something has moved meanwhile.
const READS: usize = 100;
const AGAIN: Duration = Duration::from_millis(100);

/// What a list and a read said of one document.
type Difference = Box<((Invoice, Tier), Option<(Invoice, Tier)>)>;

pub struct World {
    pub store: Store,
    pub archive: Archive,
    pub storage: Arc<Counting>,
    pub tenant: TenantId,
}

/// A new tenant, and an archive of its own over the shared bucket.
pub async fn world(name: &str) -> World {
    world_over(name, Counting::new).await
}

/// The same, over the bucket as `storage` shows it.
pub async fn world_over(
    name: &str,
    storage: impl FnOnce(Arc<dyn ColdStorage>) -> Counting,
) -> World {
    let env = test_env();
    sheaf_store::migrate(&env.database_url, 32).await.unwrap();
    let mut config = StoreConfig::new(&env.database_url);
    config.max_connections_per_node = 6;
    let store = Store::connect(config).await.unwrap();
    let tenant = new_tenant(&store, name).await;
    let storage = Arc::new(storage(Arc::new(s3().await)));
    let archive = Archive::with_storage(store.clone(), storage.clone());
    World {
        store,
        archive,
        storage,
        tenant,
    }
}

async fn new_tenant(store: &Store, name: &str) -> TenantId {
    let new = NewTenant {
        name: name.to_owned(),
        external_id: None,
    };
    let CreateOutcome::Created(tenant) = store
        .create_tenant(new, None, |_| Vec::new())
        .await
        .unwrap()
    else {
        panic!("the tenant was not created")
    };
    tenant.id
}

pub async fn s3() -> S3Storage {
    S3Storage::connect(&s3_config()).await
}

pub fn s3_config() -> S3Config {
    let env = test_env();
    S3Config {
        endpoint: Some(env.s3_endpoint),
        bucket: env.s3_bucket,
        region: env.s3_region,
        credentials: None,
        keeping: sheaf_archive::Keeping::default(),
    }
}

/// A connection for what no caller of the store may do.
pub async fn sql() -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&test_env().database_url, tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The day as of which the tests tier: everything before November 2025 is old.
pub fn as_of() -> NaiveDate {
    day("2026-11-20")
}

/// A document of `lines` lines of 1.10 each, plus 20 % tax; paid when `status` says so.
pub fn invoice(
    tenant: TenantId,
    date: NaiveDate,
    number: usize,
    status: Status,
    lines: usize,
) -> Invoice {
    let now = chrono::SubsecRound::trunc_subsecs(Utc::now(), 6);
    let line = |n: usize| Line {
        sku: n.is_multiple_of(2).then(|| format!("SKU-{n}")),
        description: format!("Ding Nr. {n} \u{1F4E6}"),
        quantity: Decimal::ONE,
        unit_price: Decimal::new(110, 2),
        discount: Decimal::ZERO,
        discount_percent: None,
        document_discount: Decimal::ZERO,
        tax_rate: Decimal::new(2, 1),
        net: Decimal::new(110, 2),
        tax: Decimal::new(22, 2),
    };
    let count = Decimal::from(lines);
    let (subtotal, tax_total) = (count * Decimal::new(110, 2), count * Decimal::new(22, 2));
    let total = subtotal + tax_total;
    let paid = status == Status::Paid;
    let payment = || Payment {
        id: id::new_id(now),
        reference: "bank 1".into(),
        kind: PaymentKind::Payment,
        amount: total,
        paid_on: date,
        method: "card".into(),
        reverses: None,
    };
    Invoice {
        id: id::id_for_date(date),
        tenant_id: tenant,
        external_id: Some(format!("ext-{number}")),
        number: (!number.is_multiple_of(3)).then(|| format!("N-{number:05}")),
        kind: if number.is_multiple_of(5) {
            Kind::CreditNote
        } else {
            Kind::Invoice
        },
        status,
        currency: Currency::parse(if number.is_multiple_of(4) {
            "EUR"
        } else {
            "GBP"
        })
        .unwrap(),
        customer_id: None,
        customer: (!number.is_multiple_of(7)).then(|| Customer {
            external_id: Some(format!("c-{}", number % 3)),
            name: format!("Customer {}", number % 3),
            country: Some("DE".into()),
            ..Customer::default()
        }),
        issue_date: Some(date),
        due_date: Some(date),
        lines: (0..lines).map(line).collect(),
        payments: if paid { vec![payment()] } else { Vec::new() },
        credits: None,
        discount: Decimal::ZERO,
        discount_percent: None,
        tax_rounding: [None, Some(TaxRounding::Line), Some(TaxRounding::Document)][number % 3],
        subtotal,
        discount_total: Decimal::ZERO,
        tax_total,
        total,
        amount_paid: if paid { total } else { Decimal::ZERO },
        amount_credited: Decimal::ZERO,
        credited: number.is_multiple_of(2).then(|| Credited {
            by_rate: (!number.is_multiple_of(4)).then(|| {
                vec![CreditedRate {
                    rate: Decimal::new(2, 1),
                    net: Decimal::new(110, 2),
                    tax: Decimal::new(22, 2),
                    rounded: u32::try_from(number % 3).unwrap(),
                }]
            }),
            paid_out: Decimal::new(i64::try_from(number).unwrap(), 2),
        }),
        amount_due: if paid || status == Status::Cancelled {
            Decimal::ZERO
        } else {
            total
        },
        metadata: Metadata::parse(&format!(
            r#"{{"bucket": "{}", "no": {number}}}"#,
            number % 2
        ))
        .unwrap(),
        // The store freezes the profile that the tenant has, and these tenants have none.
        profile_version: None,
        version: 1,
        created_at: now,
        modified_at: now,
    }
}

impl World {
    /// Another tenant of the same store and archive.
    pub async fn sibling(&self, name: &str) -> Self {
        Self {
            store: self.store.clone(),
            archive: self.archive.clone(),
            storage: self.storage.clone(),
            tenant: new_tenant(&self.store, name).await,
        }
    }

    pub fn invoice(&self, date: &str, number: usize, status: Status) -> Invoice {
        invoice(self.tenant, day(date), number, status, 1 + number % 3)
    }

    pub async fn write(&self, invoices: Vec<Invoice>) -> Vec<LineOutcome> {
        self.try_write(invoices).await.unwrap()
    }

    pub async fn try_write(&self, invoices: Vec<Invoice>) -> Result<Vec<LineOutcome>, StoreError> {
        let chunk = invoices.into_iter().map(|invoice| NewInvoice {
            at: invoice.created_at,
            invoice,
            id_from: sheaf_store::IdFrom::Server,
            origin: Origin::new("test", "req-1"),
            idem: None,
        });
        self.store.write_chunk(chunk.collect()).await
    }

    /// Writes documents that must be new.
    pub async fn create(&self, invoices: Vec<Invoice>) {
        let outcomes = self.write(invoices).await;
        assert!(
            outcomes.iter().all(|o| *o == LineOutcome::Created),
            "{outcomes:?}"
        );
    }

    /// Changes an invoice, which brings it back when it is archived.
    pub async fn change(&self, invoice_id: Uuid, command: Command) {
        let change = NewChange {
            tenant_id: self.tenant,
            invoice_id,
            command,
            expected: None,
            origin: Origin::new("test", "req-2"),
            idem: None,
            now: chrono::SubsecRound::trunc_subsecs(Utc::now(), 6),
        };
        self.store.change_invoice(change).await.unwrap();
    }

    /// Brings an invoice back as it is.
    pub async fn recall(&self, invoice_id: Uuid) {
        self.change(invoice_id, Command::Recall).await;
    }

    pub fn options(&self) -> RunOptions {
        RunOptions {
            as_of: as_of(),
            older_than_months: 12,
            tenant: Some(self.tenant),
            dry_run: false,
        }
    }

    /// One run. The lock is the cluster's, so tests of other processes are waited for.
    pub async fn tier(&self) -> RunSummary {
        self.try_tier(&self.archive).await.unwrap()
    }

    pub async fn try_tier(&self, archive: &Archive) -> Result<RunSummary, ArchiveError> {
        loop {
            match archive.tiering().run(self.options(), &Silent).await {
                Err(ArchiveError::AlreadyRunning) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                answer => return answer,
            }
        }
    }

    pub async fn gc(&self, archive: &Archive, grace: Duration, dry_run: bool) -> GcReport {
        loop {
            match archive.gc(Some(self.tenant), grace, dry_run).await {
                Err(ArchiveError::AlreadyRunning) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                answer => return answer.unwrap(),
            }
        }
    }

    pub async fn compact(&self) -> CompactSummary {
        self.try_compact(&self.archive).await.unwrap()
    }

    pub async fn try_compact(&self, archive: &Archive) -> Result<CompactSummary, ArchiveError> {
        let options = CompactOptions {
            tenant: Some(self.tenant),
            dry_run: false,
        };
        loop {
            match archive.compact(options, &Silent).await {
                Err(ArchiveError::AlreadyRunning) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                answer => return answer,
            }
        }
    }

    /// The tenant's invoices by pages of `limit`, newest first.
    pub async fn walk(
        &self,
        filter: &ListFilter,
        limit: usize,
        tier: Option<Tier>,
    ) -> Vec<(Invoice, Tier)> {
        let (mut out, mut before) = (Vec::new(), None);
        for _ in 0..10_000 {
            let page = self
                .archive
                .reader()
                .list(self.tenant, filter, before, limit, tier)
                .await
                .unwrap();
            assert!(page.items.len() <= limit);
            assert_eq!(page.has_more, page.next_before.is_some());
            out.extend(page.items);
            if !page.has_more {
                return out;
            }
            assert!(
                before.is_none_or(|b| page.next_before.unwrap() < b),
                "the cursor does not move"
            );
            before = page.next_before;
        }
        panic!("the list does not end");
    }

    /// The rendered documents by id, newest first, read one by one; the list must say the same.
    ///
    /// A run that was killed may have sent its commit: the database still does it, and a document
    /// then moves between the list and its read. Such a difference is gone when both are read
    /// again; a lasting one is a fault.
    pub async fn bodies(&self) -> Vec<(Uuid, Vec<u8>)> {
        let mut last = None;
        for _ in 0..READS {
            match self.bodies_once().await {
                Ok(bodies) => return bodies,
                Err(difference) => last = Some(difference),
            }
            tokio::time::sleep(AGAIN).await;
        }
        panic!("the list and the reads go on to differ: {last:?}");
    }

    async fn bodies_once(&self) -> Result<Vec<(Uuid, Vec<u8>)>, Difference> {
        let listed = self.walk(&ListFilter::default(), 50, None).await;
        let mut out = Vec::new();
        for listed in listed {
            let id = listed.0.id;
            let read = self.archive.reader().get(self.tenant, id).await.unwrap();
            match read {
                Some(read) if read == listed => out.push((id, read.0.render())),
                read => return Err(Box::new((listed, read))),
            }
        }
        Ok(out)
    }

    /// Reads the tenant's archive back.
    pub async fn verify(&self) -> VerifyReport {
        let report = self.archive.verify(Some(self.tenant), &Silent).await;
        report.unwrap()
    }

    /// Asserts that a run that was killed at `step` changed nothing that a user sees, and broke
    /// nothing.
    pub async fn assert_as_before(&self, ids: &[Uuid], bodies: &[(Uuid, Vec<u8>)], step: Step) {
        self.assert_one_tier(ids).await;
        assert_eq!(self.bodies().await, bodies, "{step}");
        let report = self.verify().await;
        assert!(report.is_clean(), "{step}: {report:?}");
    }

    /// Asserts that every id is in exactly one tier.
    ///
    /// The tiers are read one after the other, and a commit that a killed run had sent may land in
    /// between: only what the hot tier says before and after the archive was read counts.
    pub async fn assert_one_tier(&self, ids: &[Uuid]) {
        for id in ids {
            let (mut hot, mut cold) = (self.is_hot(*id).await, false);
            for _ in 0..READS {
                let read = self.archive.reader().cold().get(self.tenant, *id).await;
                cold = read.unwrap().is_some();
                let before = std::mem::replace(&mut hot, self.is_hot(*id).await);
                if before == hot {
                    break;
                }
            }
            assert!(hot != cold, "{id}: hot {hot}, cold {cold}");
        }
    }

    async fn is_hot(&self, id: Uuid) -> bool {
        let read = self.store.get_invoice(self.tenant, id).await;
        read.unwrap().is_some()
    }
}

/// Parks the run for ever at the n-th time that it reaches a step, after telling.
pub struct Park {
    pub step: Step,
    pub skip: std::sync::atomic::AtomicUsize,
    pub reached: tokio::sync::Notify,
}

impl Park {
    pub fn at(step: Step, skip: usize) -> Arc<Self> {
        Arc::new(Self {
            step,
            skip: skip.into(),
            reached: tokio::sync::Notify::new(),
        })
    }
}

impl Checkpoint for Park {
    fn reached(&self, step: Step) -> BoxFuture<'_, ()> {
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            if step != self.step
                || self
                    .skip
                    .fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1))
                    .is_ok()
            {
                return;
            }
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
        .boxed()
    }
}

/// Runs tiering (or gc) until it parks at `park`, and kills it there: the future is dropped, as
/// with the process all of it would be. True when it got there, false when it ended before.
pub async fn kill_at(world: &World, park: Arc<Park>) -> bool {
    let archive = world.archive.clone().with_checkpoint(park.clone());
    let work = async {
        if park.step.is_gc() {
            world.gc(&archive, Duration::ZERO, false).await;
        } else {
            world.try_tier(&archive).await.unwrap();
        }
    };
    killed(&park, work).await
}

/// The same of a compaction.
pub async fn kill_compaction_at(world: &World, park: Arc<Park>) -> bool {
    let archive = world.archive.clone().with_checkpoint(park.clone());
    let work = async {
        world.try_compact(&archive).await.unwrap();
    };
    killed(&park, work).await
}

/// Lets `work` run until it parks, and drops it there.
pub async fn killed(park: &Park, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = Box::pin(work) => false,
        () = park.reached.notified() => true,
    }
}
