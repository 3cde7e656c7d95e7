//! Lists over both tiers.

use sheaf_archive::Tier;
use sheaf_model::Status;
use sheaf_store::ListFilter;

use crate::support::cluster::world;

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
