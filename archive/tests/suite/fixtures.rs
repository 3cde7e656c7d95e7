//! Objects as older builds wrote them, kept as files: every later build must read them, for ever.
//!
//! Of each version of the schema there are, in `tests/fixtures`, the object, the catalog's row of
//! it, and the documents that it holds as the API tells them.

use std::path::PathBuf;

use serde_json::Value;
use sheaf_archive::object::storage::ColdStorage;
use sheaf_archive::{QueryOptions, Tier};
use sheaf_model::{Decimal, Invoice, Status, TenantId};
use uuid::Uuid;

use crate::support::cluster::{World, sql, world};
use crate::support::query::{ask, decimal};

/// The versions, and the tenant of each.
const VERSIONS: [(&str, u128); 3] = [
    ("v1", 0x0190_163d_8694_739b_aea5_0000_0000_0001),
    ("v2", 0x0190_163d_8694_739b_aea5_0000_0000_0002),
    ("v3", 0x0190_163d_8694_739b_aea5_0000_0000_0003),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A world whose tenant is always the same: its id is in the object.
async fn world_of(tenant: u128) -> World {
    let mut world = world("fixture").await;
    world.tenant = TenantId(Uuid::from_u128(tenant));
    let new = "insert into tenants (id, name, created_at) values ($1, 'fixture', now()) on \
        conflict do nothing";
    sql().await.execute(new, &[&world.tenant.0]).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_older_version_are_read_as_they_were_written() {
    for (version, tenant) in VERSIONS {
        let world = world_of(tenant).await;
        let row = std::fs::read_to_string(path(&format!("{version}.catalog.json"))).unwrap();
        let enter = "insert into archive_files select * from \
            jsonb_populate_record(null::archive_files, $1::text::jsonb)";
        sql().await.execute(enter, &[&row]).await.unwrap();
        let file = world.archive.ls(world.tenant).await.unwrap().remove(0);
        let object = path(&format!("{version}.parquet"));
        let put = world
            .storage
            .put_if_absent(&file.object_key, &object, file.sha256.unwrap());
        put.await.unwrap();

        let told = std::fs::read_to_string(path(&format!("{version}.ndjson"))).unwrap();
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(told.len(), 12, "{version}");
        let bodies = world.bodies().await;
        let bodies: Vec<&str> = bodies
            .iter()
            .map(|(_, body)| std::str::from_utf8(body).unwrap())
            .collect();
        assert_eq!(bodies, told, "{version}");

        let total: Decimal = told
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|invoice| decimal(&invoice["total"]))
            .sum();
        let sums = "select count(*), sum(total), (select count(*) from lines) as lines,
                    (select count(*) from payments) as payments, (select count(*) from events) as \
                    events from invoices";
        let sums = ask(&world.archive, world.tenant, sums, QueryOptions::default())
            .await
            .unwrap();
        assert_eq!(decimal(&sums["rows"][0][1]), total, "{version}");
        let counts = [0, 2, 3, 4].map(|at| sums["rows"][0][at].as_u64().unwrap());
        assert_eq!(counts, [12, 24, 8, 12], "{version}");

        let report = world.verify().await;
        assert!(
            report.is_clean() && report.invoices == 12,
            "{version}: {report:?}"
        );
        // Brought back, it is the document that it was.
        let id: Uuid = serde_json::from_str::<Value>(told[0]).unwrap()["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let (cold, _) = world
            .archive
            .reader()
            .get(world.tenant, id)
            .await
            .unwrap()
            .unwrap();
        world.recall(id).await;
        let (hot, tier) = world
            .archive
            .reader()
            .get(world.tenant, id)
            .await
            .unwrap()
            .unwrap();
        let cold = Invoice {
            version: hot.version,
            modified_at: hot.modified_at,
            ..cold
        };
        assert_eq!((hot, tier), (cold, Tier::Hot), "{version}");
    }
}

/// By hand, when the schema gets a new version: add it to [`VERSIONS`]; this writes the files of
/// the one that this build writes. Those of older versions stay as their builds wrote them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixtures"]
async fn write() {
    for (version, tenant) in VERSIONS.into_iter().rev().take(1) {
        let world = world_of(tenant).await;
        let statuses = [Status::Paid, Status::Cancelled, Status::Paid];
        let documents = (0..12).map(|n| world.invoice("2024-03-15", n + 1, statuses[n % 3]));
        world.create(documents.collect()).await;
        assert_eq!(world.tier().await.invoices, 12);
        let file = world.archive.ls(world.tenant).await.unwrap().remove(0);
        let object = path(&format!("{version}.parquet"));
        world
            .storage
            .get_to_file(&file.object_key, &object)
            .await
            .unwrap();
        let row = "select row_to_json(f)::text from archive_files f where tenant_id = $1 and \
            object_key = $2";
        let row = sql()
            .await
            .query_one(row, &[&world.tenant.0, &file.object_key])
            .await
            .unwrap();
        std::fs::write(
            path(&format!("{version}.catalog.json")),
            row.get::<_, String>(0),
        )
        .unwrap();
        let mut told = Vec::new();
        for (_, body) in world.bodies().await {
            told.extend_from_slice(&body);
            told.push(b'\n');
        }
        std::fs::write(path(&format!("{version}.ndjson")), told).unwrap();
    }
}
