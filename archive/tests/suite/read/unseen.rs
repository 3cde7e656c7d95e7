//! What an invoice keeps and clients do not see goes everywhere that the invoice goes.

use std::collections::BTreeMap;

use sheaf_model::invoice::lifecycle::Patch;
use sheaf_model::{Credited, Invoice, Status, TaxRounding};
use sheaf_store::{Command, ListFilter};
use uuid::Uuid;

use crate::care::erasure::erase;
use crate::support::cluster::{World, sql, world};

type Unseen = (Option<TaxRounding>, Option<i64>, Option<Credited>);

async fn unseen(world: &World) -> BTreeMap<Uuid, Unseen> {
    let all = world.walk(&ListFilter::default(), 100, None).await;
    let unseen = all.into_iter().map(|(invoice, _)| {
        let kept = (
            invoice.tax_rounding,
            invoice.profile_version,
            invoice.credited,
        );
        (invoice.id, kept)
    });
    unseen.collect()
}

/// Writes documents with the versions of profiles that they name: the store itself freezes the
/// tenant's, which has none.
async fn create(world: &World, invoices: Vec<Invoice>) {
    let frozen: Vec<_> = invoices.iter().map(|i| (i.id, i.profile_version)).collect();
    world.create(invoices).await;
    let sql = sql().await;
    let freeze = "update invoices set profile_version = $3 where tenant_id = $1 and id = $2";
    for (id, version) in frozen {
        let changed = sql.execute(freeze, &[&world.tenant.0, &id, &version]).await;
        assert_eq!(changed.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_changes_tiering_recalls_compaction_and_erasure() {
    let world = world("unseen").await;
    let mut made: Vec<_> = (0..24)
        .map(|n| world.invoice("2024-02-10", n, Status::Paid))
        .collect();
    for (number, invoice) in (0_i64..).zip(&mut made) {
        invoice.profile_version = (number % 5 != 0).then_some(number);
    }
    let expected: BTreeMap<Uuid, Unseen> = made
        .iter()
        .map(|i| {
            (
                i.id,
                (i.tax_rounding, i.profile_version, i.credited.clone()),
            )
        })
        .collect();
    let ids: Vec<Uuid> = made.iter().map(|invoice| invoice.id).collect();
    // Every value and its absence.
    assert!(expected.values().any(|(rounding, ..)| rounding.is_none()));
    assert!(expected.values().any(|(_, version, _)| version.is_none()));
    let by_rate = |(.., credited): &Unseen| credited.as_ref().map(|c| c.by_rate.is_some());
    for wanted in [None, Some(false), Some(true)] {
        assert!(expected.values().any(|kept| by_rate(kept) == wanted));
    }
    let late = made.split_off(16);
    create(&world, made).await;
    assert_eq!(world.tier().await.invoices, 16);
    create(&world, late).await;
    assert_eq!(unseen(&world).await, expected);

    let patch = Patch::parse(br#"{"metadata": {"touched": true}}"#).unwrap();
    for id in [&ids[..4], &ids[16..20]].concat() {
        world.change(id, Command::Edit(patch.clone())).await;
    }
    assert_eq!(unseen(&world).await, expected);
    assert_eq!(world.tier().await.invoices, 12);
    assert_eq!(unseen(&world).await, expected);
    let compacted = world.compact().await;
    assert_eq!((compacted.written, compacted.dropped), (1, 4));
    assert_eq!(unseen(&world).await, expected);

    let all = world.walk(&ListFilter::default(), 100, None).await;
    let customer = all.iter().find_map(|(invoice, _)| invoice.customer_id);
    let receipt = erase(&world, &world.archive, customer.unwrap()).await;
    assert_eq!(receipt.unwrap().files_rewritten, 1);
    assert_eq!(unseen(&world).await, expected);
    world.recall(ids[0]).await;
    assert_eq!(unseen(&world).await, expected);
}
