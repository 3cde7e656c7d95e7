//! What an invoice keeps and clients do not see goes everywhere that the invoice goes.

use std::collections::BTreeMap;

use sheaf_model::lifecycle::Patch;
use sheaf_model::{Credited, Status, TaxRounding};
use sheaf_store::{Command, ListFilter};
use uuid::Uuid;

use crate::erasure::erase;
use crate::support::cluster::{World, world};

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

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_changes_tiering_recalls_compaction_and_erasure() {
    let world = world("unseen").await;
    let made: Vec<_> = (0..24)
        .map(|n| world.invoice("2024-02-10", n, Status::Paid))
        .collect();
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
    let mut made = made;
    let late = made.split_off(16);
    world.create(made).await;
    assert_eq!(world.tier().await.invoices, 16);
    world.create(late).await;
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
