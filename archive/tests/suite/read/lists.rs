//! Lists over both tiers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::{SubsecRound, Utc};
use sheaf_archive::Tier;
use sheaf_archive::object::storage::Counting;
use sheaf_model::{Status, TenantId};
use sheaf_store::{Command, ListFilter, NewChange, Origin, Store};
use uuid::Uuid;

use crate::support::cluster::{world, world_over};
use crate::support::faulty::{Fault, Faulty};

async fn recall(store: &Store, tenant_id: TenantId, invoice_id: Uuid) {
    let change = NewChange {
        tenant_id,
        invoice_id,
        command: Command::Recall,
        expected: None,
        origin: Origin::new("test", "req-2"),
        idem: None,
        now: Utc::now().trunc_subsecs(6),
    };
    store.change_invoice(change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_recalled_between_the_reads_of_both_tiers_is_listed() {
    // Set once everything is archived: what the next read of an object, by then of a list, recalls
    // first.
    let due: Arc<OnceLock<(Store, TenantId, Uuid)>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let (is_due, is_done) = (Arc::clone(&due), Arc::clone(&done));
    let world = world_over("moves", |inner| {
        let script = move |_: &str, _, _| {
            if let Some((store, tenant, id)) = is_due.get()
                && !is_done.swap(true, Ordering::SeqCst)
            {
                let runtime = tokio::runtime::Handle::current();
                tokio::task::block_in_place(|| runtime.block_on(recall(store, *tenant, *id)));
            }
            Fault::None
        };
        Counting::new(Faulty::new(inner, script))
    });
    let world = world.await;
    let old = (0..5).map(|n| world.invoice("2024-03-05", n, Status::Paid));
    let old: Vec<_> = old.collect();
    let moved = old[2].id;
    let mut ids: Vec<Uuid> = old.iter().map(|invoice| invoice.id).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    world.create(old).await;
    assert_eq!(world.tier().await.invoices, 5);

    // Another process: what the list has begun to read, a recall through its own store would wait
    // for.
    let other = crate::support::cluster::world("recalls").await;
    let _first = due.set((other.store, world.tenant, moved));
    let filter = ListFilter {
        status: Some(Status::Paid),
        ..ListFilter::default()
    };
    let page = world
        .archive
        .reader()
        .list(world.tenant, &filter, None, 10, None);
    let page = page.await.unwrap();
    assert!(done.load(Ordering::SeqCst), "the list read no object");
    let listed: Vec<Uuid> = page.items.iter().map(|(invoice, _)| invoice.id).collect();
    assert_eq!(listed, ids);
    let tier = |id| {
        page.items
            .iter()
            .find(|(invoice, _)| invoice.id == id)
            .unwrap()
            .1
    };
    assert_eq!(tier(moved), Tier::Hot);
    assert!(!page.has_more);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_hot_tier_fills_opens_no_file() {
    let world = world("lists").await;
    let old = (0..30).map(|n| world.invoice("2024-03-05", n, Status::Paid));
    world.create(old.collect()).await;
    assert_eq!(world.tier().await.invoices, 30);
    let recent = (100..125).map(|n| world.invoice("2026-10-03", n, Status::Issued));
    world.create(recent.collect()).await;

    let (reader, all) = (world.archive.reader(), ListFilter::default());
    let (before, _) = world.storage.gets();
    let list = |from| reader.list(world.tenant, &all, from, 10, None);
    let first = list(None).await.unwrap();
    let second = list(first.next_before).await.unwrap();
    for page in [&first, &second] {
        assert_eq!(page.items.len(), 10);
        assert!(page.has_more && page.items.iter().all(|(_, tier)| *tier == Tier::Hot));
    }
    assert_eq!(world.storage.gets().0, before, "nothing was fetched");
    // The page that runs over the edge has both.
    let third = list(second.next_before).await.unwrap();
    let hot = third.items.iter().filter(|(_, tier)| *tier == Tier::Hot);
    assert_eq!((third.items.len(), hot.count()), (10, 5));
    assert_eq!(world.walk(&all, 7, None).await.len(), 55);
}

/// Lines that make an invoice of some 7 MiB.
fn long(mut invoice: sheaf_model::Invoice) -> sheaf_model::Invoice {
    let description = "x".repeat(1_500);
    let lines = invoice.lines.clone();
    invoice.lines = lines.iter().cycle().take(4_000).cloned().collect();
    for line in &mut invoice.lines {
        line.description.clone_from(&description);
    }
    invoice
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_customers_are_one_list_of_bounded_pages() {
    let world = world("merged").await;
    // One each, archived as such: the figures of the lines do not matter here.
    let of = |key: usize, date: &str, status| {
        let mut invoice = world.invoice(date, key, status);
        invoice.customer = Some(sheaf_model::Customer {
            external_id: Some(format!("merged-{key}")),
            name: "Merged".into(),
            ..sheaf_model::Customer::default()
        });
        invoice
    };
    let old = (0..6).map(|key| of(key, "2024-03-05", Status::Paid));
    world.create(old.collect()).await;
    assert_eq!(world.tier().await.invoices, 6);
    let recent = (10..14).map(|key| long(of(key, "2026-10-03", Status::Issued)));
    world.create(recent.collect()).await;

    let all = ListFilter::default();
    let everything = world.walk(&all, 100, None).await;
    assert_eq!(everything.len(), 10);
    let customers = everything
        .iter()
        .filter_map(|(invoice, _)| invoice.customer_id);
    let mut customers: Vec<Uuid> = customers.collect();
    let filter = ListFilter {
        customer_id: customers.pop(),
        merged: customers,
        ..ListFilter::default()
    };
    let page = world
        .archive
        .reader()
        .list(world.tenant, &filter, None, 100, None);
    let page = page.await.unwrap();
    // Each customer's own page has room for one of the long ones; all together have no more than a
    // page.
    assert!(
        page.has_more && page.items.len() < 4,
        "{}",
        page.items.len()
    );
    let ids = |items: &[(sheaf_model::Invoice, Tier)]| -> Vec<Uuid> {
        items.iter().map(|(invoice, _)| invoice.id).collect()
    };
    assert_eq!(ids(&world.walk(&filter, 100, None).await), ids(&everything));

    // The archive is read once for all of them.
    let gets = world.storage.gets();
    assert_eq!(world.walk(&filter, 100, Some(Tier::Cold)).await.len(), 6);
    let (merged, before) = (world.storage.gets().0 - gets.0, world.storage.gets().0);
    assert_eq!(world.walk(&all, 100, Some(Tier::Cold)).await.len(), 6);
    assert_eq!(merged, world.storage.gets().0 - before);
}
