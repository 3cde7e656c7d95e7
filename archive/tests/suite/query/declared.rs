//! Keys of `metadata` that a tenant declares.

use std::collections::BTreeMap;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sheaf_archive::object::storage::ColdStorage;
use sheaf_archive::{QueryError, QueryOptions, Silent};
use sheaf_model::{Invoice, Status};
use sheaf_store::{NewMetadataColumns, Origin, PutMetadataColumns};

use super::answers::archived;
use crate::support::cluster::{World, world};
use crate::support::query::{all_tiers, ask, rows};

async fn declare(world: &World, keys: &[&str]) -> PutMetadataColumns {
    let new = NewMetadataColumns {
        tenant: world.tenant,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        expected: None,
        origin: Origin::new("test", "req-columns"),
    };
    world.store.put_metadata_columns(&new).await.unwrap()
}

async fn asked(world: &World, sql: &str, options: QueryOptions) -> Vec<Vec<String>> {
    let answer = ask(&world.archive, world.tenant, sql, options).await;
    rows(&answer.unwrap_or_else(|e| panic!("{sql}: {e}")))
}

/// Whether each file of the tenant has the column.
async fn have(world: &World, column: &str) -> Vec<bool> {
    let mut out = Vec::new();
    for file in world.archive.ls(world.tenant).await.unwrap() {
        let copy = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let fetched = world.storage.get_to_file(&file.object_key, &copy).await;
        fetched.unwrap();
        let file = std::fs::File::open(&copy).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        out.push(reader.schema().field_with_name(column).is_ok());
    }
    out
}

/// Invoices by the `bucket` of their metadata.
fn buckets<'a>(of: impl Iterator<Item = &'a Invoice>) -> Vec<Vec<String>> {
    let mut out = BTreeMap::<String, usize>::new();
    for invoice in of {
        let metadata: serde_json::Value = serde_json::from_str(invoice.metadata.as_str()).unwrap();
        let bucket = metadata["bucket"].as_str().unwrap().to_owned();
        *out.entry(bucket).or_default() += 1;
    }
    let rows = out.into_iter();
    rows.map(|(key, count)| vec![key, count.to_string()])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_keys_are_columns_of_old_files_new_files_and_hot_rows() {
    let (world, old) = archived("declared", 10).await;
    let by_bucket = "select meta_bucket, count(*) from invoices group by 1 order by 1";
    let unknown = ask(
        &world.archive,
        world.tenant,
        by_bucket,
        QueryOptions::default(),
    )
    .await;
    assert!(matches!(unknown, Err(QueryError::Invalid(_))));

    assert!(matches!(
        declare(&world, &["bucket", "no"]).await,
        PutMetadataColumns::Stored(declared) if declared.version == 1
    ));
    let cold = QueryOptions::default();
    assert_eq!(asked(&world, by_bucket, cold).await, buckets(old.iter()));
    assert!(have(&world, "meta_bucket").await.iter().all(|has| !has));

    // More in the same months and later, half of it without such keys, and some that is hot.
    let mut new: Vec<Invoice> = (0..20)
        .map(|n| world.invoice("2024-12-30", 900_000 + n, Status::Paid))
        .collect();
    new.extend((0..7).map(|n| world.invoice("2026-10-03", 800_000 + n, Status::Issued)));
    world.create(new.clone()).await;
    assert_eq!(world.tier().await.invoices, 20);
    let has = have(&world, "meta_no").await;
    assert!(has.contains(&true) && has.contains(&false));
    let archived = || old.iter().chain(&new[..20]);
    let all = || old.iter().chain(&new);
    assert_eq!(asked(&world, by_bucket, cold).await, buckets(archived()));
    assert_eq!(asked(&world, by_bucket, all_tiers()).await, buckets(all()));

    // Filters, in files of both kinds; a number is compared when it is cast.
    for number in ["900007", "202305003", "1"] {
        let sql = format!(
            "select count(*), min(json_text(metadata, 'no')) from invoices where meta_no = \
            '{number}'"
        );
        let count = usize::from(number != "1").to_string();
        let text = if number == "1" { "null" } else { number };
        assert_eq!(asked(&world, &sql, cold).await, [[count.as_str(), text]]);
    }
    let sql = "select count(*) from invoices where cast(meta_no as bigint) between 900003 and \
        900005 and meta_bucket = '0'";
    assert_eq!(asked(&world, sql, cold).await, [["1"]]);
    let sql = "select count(*) from lines l join invoices i on i.id = l.invoice_id where i.meta_no \
        = '900007'";
    assert_eq!(
        asked(&world, sql, cold).await,
        [[(1 + 900_007 % 3).to_string()]]
    );

    // A file that is written anew has them; nothing else differs.
    world.compact().await;
    assert_eq!(asked(&world, by_bucket, cold).await, buckets(archived()));
    assert_eq!(world.bodies().await.len(), all().count());
    let report = world.archive.verify(Some(world.tenant), &Silent).await;
    assert!(report.unwrap().is_clean());

    // Declared no more: the column is gone, the files that have it are read as ever.
    declare(&world, &["no"]).await;
    let gone = ask(&world.archive, world.tenant, by_bucket, cold).await;
    assert!(matches!(gone, Err(QueryError::Invalid(_))));
    let sql = "select count(meta_no) from invoices";
    assert_eq!(
        asked(&world, sql, cold).await,
        [[archived().count().to_string()]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tenant_declares_is_no_column_of_another() {
    let (ours, theirs) = (world("ours").await, world("theirs").await);
    declare(&ours, &["bucket"]).await;
    let sql = "select meta_bucket from invoices";
    assert!(asked(&ours, sql, all_tiers()).await.is_empty());
    let refused = ask(&theirs.archive, theirs.tenant, sql, all_tiers()).await;
    assert!(matches!(refused, Err(QueryError::Invalid(_))));
}
