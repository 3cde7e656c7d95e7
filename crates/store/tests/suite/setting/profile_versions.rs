//! Versions of profiles: a migration keeps the one that each tenant has.

use crate::support::{raw, store, tenant};
use serde_json::json;
use sheaf_store::{NewProfile, Origin, PutProfile};

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_keeps_todays_profile_once() {
    let store = store().await;
    let tenant = tenant(&store).await;
    for name in ["One", "Two"] {
        let new = NewProfile {
            tenant,
            profile: json!({ "name": name }),
            expected: None,
            origin: Origin::new("test", "req"),
        };
        let put = store.put_profile(&new).await.unwrap();
        assert!(matches!(put, PutProfile::Stored(_)));
    }
    let db = raw().await;
    // As a database is that was in use before there were versions.
    let forget = "delete from tenant_profile_versions where tenant_id = $1";
    db.execute(forget, &[&tenant.0]).await.unwrap();
    let url = sheaf_local::test_env().database_url;
    for _ in 0..2 {
        sheaf_store::migrate(&url, 8).await.unwrap();
        let kept =
            "select version, profile ->> 'name' from tenant_profile_versions where tenant_id = $1";
        let kept = db.query(kept, &[&tenant.0]).await.unwrap();
        let kept: Vec<(i64, String)> = kept.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(kept, [(2, "Two".to_owned())]);
    }
}
