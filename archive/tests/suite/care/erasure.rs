//! Erasure of a customer in the cold tier: nothing personal is left, nothing else is lost.

use std::time::Duration;

use chrono::Utc;

use crate::support::cluster::{Park, World, killed, world};
use sheaf_archive::object::storage::ColdStorage;
use sheaf_archive::{Archive, ArchiveError, Erasure, ErasureReceipt, Silent, Step, Tier};
use sheaf_model::invoice::lifecycle::Patch;
use sheaf_model::{Customer, Invoice, Kind, Status};
use sheaf_store::{Cause, Command, ERASED_NAME, FileState, ListFilter, Origin};
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);

/// Words that only the customer to be erased has.
const PERSONAL: [&str; 5] = [
    "Ada Vergessen",
    "ada@example.org",
    "DE-ADA-7",
    "Adaweg 1",
    "ada-key",
];

fn customer(n: usize) -> Customer {
    if n.is_multiple_of(3) {
        let [name, email, tax_id, address, external_id] = PERSONAL.map(str::to_owned);
        return Customer {
            name,
            external_id: Some(external_id),
            email: Some(email),
            tax_id: Some(tax_id),
            address: Some(address),
            country: Some("DE".into()),
        };
    }
    Customer {
        name: format!("Bea {n}"),
        external_id: Some(format!("bea-{n}")),
        email: Some("bea@example.org".into()),
        country: Some("FR".into()),
        ..Customer::default()
    }
}

/// Three months of twelve invoices, four of each of them Ada's, but for the last month; all
/// archived. Answers Ada's id.
async fn fill(world: &World) -> Uuid {
    let mut invoices = Vec::new();
    for (at, date) in ["2024-01-05", "2024-02-05", "2024-03-05"]
        .into_iter()
        .enumerate()
    {
        for n in 0..12 {
            let number = at * 12 + n;
            let mut invoice = world.invoice(date, number, Status::Issued);
            invoice.kind = Kind::Invoice;
            invoice.customer = Some(customer(if at == 2 { 1 } else { n }));
            invoices.push(invoice);
        }
    }
    let ids: Vec<Uuid> = invoices.iter().map(|invoice| invoice.id).collect();
    world.create(invoices).await;
    // Ada's first is sent to her, and all are settled.
    world
        .change(
            ids[0],
            Command::Send {
                channel: Some("email".into()),
                recipient: Some(PERSONAL[1].into()),
            },
        )
        .await;
    for id in &ids {
        world.change(*id, Command::Cancel { reason: None }).await;
    }
    assert_eq!(world.tier().await.invoices, 36);
    let first = world
        .archive
        .reader()
        .get(world.tenant, ids[0])
        .await
        .unwrap();
    first.unwrap().0.customer_id.unwrap()
}

fn cause() -> Cause {
    Cause::new(Origin::new("test", "req-erase"), Utc::now())
}

pub(crate) async fn erase(
    world: &World,
    archive: &Archive,
    customer_id: Uuid,
) -> Result<ErasureReceipt, ArchiveError> {
    let erasure = Erasure {
        tenant: world.tenant,
        customer_id,
        merged: Vec::new(),
        hot: false,
        grace: DAY,
        histories: true,
        held: Vec::new(),
        on: Utc::now().date_naive(),
        cause: cause(),
    };
    loop {
        match archive.erase_customer(erasure.clone(), &Silent).await {
            Err(ArchiveError::AlreadyRunning) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            answer => return answer,
        }
    }
}

async fn all(world: &World) -> Vec<Invoice> {
    let all = world
        .walk(&ListFilter::default(), 100, Some(Tier::Cold))
        .await;
    all.into_iter().map(|(invoice, _)| invoice).collect()
}

/// Published rows, documents and histories, as text.
async fn told(world: &World) -> String {
    let mut out = String::new();
    for invoice in all(world).await {
        out.push_str(&String::from_utf8(invoice.render()).unwrap());
        let events = world
            .archive
            .reader()
            .cold()
            .events(world.tenant, invoice.id)
            .await;
        for event in events.unwrap().unwrap() {
            out.push_str(&event.data);
        }
    }
    out
}

fn personal(text: &str) -> Vec<&'static str> {
    PERSONAL
        .into_iter()
        .filter(|word| text.contains(word))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_left_and_everything_else_is_as_it_was() {
    let world = world("erase").await;
    let ada = fill(&world).await;
    assert_eq!(personal(&told(&world).await), PERSONAL);
    let before = all(&world).await;
    let receipt = erase(&world, &world.archive, ada).await.unwrap();
    assert_eq!(
        (receipt.files, receipt.files_rewritten, receipt.invoices),
        (3, 2, 8)
    );
    assert_eq!(personal(&told(&world).await), [""; 0]);

    let after = all(&world).await;
    for (before, after) in before.iter().zip(&after) {
        if before.customer_id != Some(ada) {
            assert_eq!(before, after);
            continue;
        }
        let expected = Invoice {
            customer: Some(Customer {
                name: ERASED_NAME.into(),
                country: Some("DE".into()),
                ..Customer::default()
            }),
            version: before.version + 1,
            ..before.clone()
        };
        assert_eq!(*after, expected);
    }
    let ours = ListFilter {
        customer_id: Some(ada),
        ..ListFilter::default()
    };
    assert_eq!(
        world.walk(&ours, 100, None).await.len(),
        8,
        "still known to be one customer's"
    );

    // The receipt names the objects that still hold the data, and until when.
    let superseded = world
        .store
        .archive_files(world.tenant, &[FileState::Superseded], None, 100)
        .await
        .unwrap();
    assert_eq!(receipt.pending.len(), 2);
    let mut pending = receipt.pending.clone();
    pending.sort_by(|a, b| a.place.cmp(&b.place));
    for (pending, file) in pending.iter().zip(&superseded) {
        assert_eq!(pending.place, file.object_key);
        assert_eq!(pending.until, file.superseded_at.unwrap() + DAY);
        assert!(world.storage.head(&pending.place).await.is_ok());
    }
    // Again: nothing to do, and the same objects are named.
    let again = erase(&world, &world.archive, ada).await.unwrap();
    assert_eq!((again.files_rewritten, again.invoices), (0, 0));
    assert_eq!(again.pending, receipt.pending);
    assert_eq!(
        world
            .gc(&world.archive, Duration::ZERO, false)
            .await
            .superseded,
        2
    );
    for pending in &receipt.pending {
        assert!(world.storage.head(&pending.place).await.is_err());
    }
    assert_eq!(
        erase(&world, &world.archive, ada).await.unwrap().pending,
        []
    );
    assert_eq!(all(&world).await, after);
    let report = world.verify().await;
    assert!(report.is_clean() && report.invoices == 36, "{report:?}");
    // Nor is anything in the objects themselves, decoded or not.
    for file in world.archive.ls(world.tenant).await.unwrap() {
        let copy = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        world
            .storage
            .get_to_file(&file.object_key, &copy)
            .await
            .unwrap();
        let bytes = String::from_utf8_lossy(&std::fs::read(&copy).unwrap()).into_owned();
        assert_eq!(
            personal(&bytes),
            [""; 0],
            "statistics and footers hold values as well"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_out_of_date_and_drafts_that_were_the_customers_are_found() {
    let world = world("history").await;
    let ada = fill(&world).await;
    // A draft of Ada's becomes Bea's, is issued, settled and archived in a month without any of
    // Ada's.
    let mut draft = world.invoice("2024-05-05", 900, Status::Draft);
    draft.kind = Kind::Invoice;
    draft.customer = Some(customer(0));
    let id = draft.id;
    world.create(vec![draft]).await;
    let patch = br#"{"customer": {"external_id": "bea-1", "name": "Bea 1"}}"#;
    world
        .change(id, Command::Edit(Patch::parse(patch).unwrap()))
        .await;
    world
        .change(
            id,
            Command::Issue {
                issue_date: Some(crate::support::cluster::day("2024-05-05")),
                due_date: None,
            },
        )
        .await;
    world.change(id, Command::Cancel { reason: None }).await;
    assert_eq!(world.tier().await.invoices, 1);
    // And one of Ada's is hot again: its copy in the archive is out of date, and holds the data all
    // the same.
    let ours = ListFilter {
        customer_id: Some(ada),
        ..ListFilter::default()
    };
    let ours = world.walk(&ours, 100, Some(Tier::Cold)).await;
    for (invoice, _) in ours.iter().take(4) {
        world.recall(invoice.id).await;
    }
    let receipt = erase(&world, &world.archive, ada).await.unwrap();
    assert_eq!(receipt.files_rewritten, 3);
    assert_eq!(receipt.invoices, 8 - 4 + 1);
    assert_eq!(personal(&told(&world).await), [""; 0]);
    let (invoice, tier) = world
        .archive
        .reader()
        .get(world.tenant, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tier, Tier::Cold);
    assert_eq!(invoice.customer.unwrap().name, "Bea 1");
    for (invoice, _) in ours.iter().take(4) {
        let (hot, tier) = world
            .archive
            .reader()
            .get(world.tenant, invoice.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (tier, hot.customer),
            (Tier::Hot, invoice.customer.clone()),
            "hot is the caller's"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_customer_of_the_same_id_is_not_touched() {
    let (ours, theirs) = (world("ours").await, world("theirs").await);
    let (ada, bob) = (fill(&ours).await, fill(&theirs).await);
    let before = told(&theirs).await;
    erase(&ours, &ours.archive, ada).await.unwrap();
    assert_eq!(told(&theirs).await, before);
    // Nor does an unknown customer cost anything.
    let receipt = erase(&ours, &ours.archive, bob).await.unwrap();
    assert_eq!((receipt.files_rewritten, receipt.invoices), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_it_is_finished_by_a_rerun() {
    for step in [
        Step::Locked,
        Step::Staged,
        Step::Read,
        Step::Encoded,
        Step::Uploaded,
        Step::Verified,
        Step::BeforeHandover,
        Step::AfterHandover,
    ] {
        let world = world(step.as_str()).await;
        let ada = fill(&world).await;
        let park = Park::at(step, usize::from(step != Step::Locked));
        let archive = world.archive.clone().with_checkpoint(park.clone());
        let work = async {
            erase(&world, &archive, ada).await.unwrap();
        };
        assert!(killed(&park, work).await, "{step} was not reached");
        assert_eq!(all(&world).await.len(), 36, "{step}");
        let report = world.verify().await;
        assert!(report.is_clean(), "{step}: {report:?}");
        let receipt = erase(&world, &world.archive, ada).await.unwrap();
        assert_eq!(personal(&told(&world).await), [""; 0], "{step}");
        // Whatever the killed run left behind is named as well.
        assert!(receipt.pending.len() >= 2, "{step}: {receipt:?}");
        world.gc(&world.archive, Duration::ZERO, false).await;
        assert_eq!(all(&world).await.len(), 36, "{step}");
    }
}
