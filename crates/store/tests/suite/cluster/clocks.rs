//! Clocks of the nodes, beside one that is wrong.

use chrono::{TimeDelta, Utc};

use crate::support::store;

#[tokio::test(flavor = "multi_thread")]
async fn each_node_tells_by_how_much_its_clock_differs() {
    let store = store().await;
    let nodes = store.clock_skews(Utc::now).await;
    assert!(!nodes.is_empty());
    for (node, skew) in &nodes {
        // One machine, one clock.
        assert!(skew.abs() < TimeDelta::seconds(1), "{node}: {skew}");
    }
    let late = TimeDelta::minutes(15);
    let skews = store.clock_skews(|| Utc::now() - late).await;
    assert_eq!(skews.len(), nodes.len());
    for (node, skew) in skews {
        assert!(
            (skew - late).abs() < TimeDelta::seconds(5),
            "{node}: {skew}"
        );
    }
    store.close().await;
}
