//! Objects of an older schema version, which lack its later columns.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use sheaf_archive::QueryOptions;
use sheaf_archive::file::schema::meta;
use sheaf_archive::object::storage::ColdStorage;
use sheaf_model::{Decimal, Invoice};
use sheaf_store::ArchiveFile;

use super::answers::archived;
use crate::support::cluster::{World, s3, sql};
use crate::support::query::{ask, decimal, rows};

/// What version 2 added, by the column or by the list's field.
const ADDED: [&str; 6] = [
    "credits",
    "discount_percent",
    "amount_credited",
    "document_discount",
    "kind",
    "reverses",
];

fn old_list(list: &ListArray, name: &str) -> ListArray {
    let DataType::List(element) = list.data_type() else {
        panic!("{name} is no list")
    };
    let items: &StructArray = list.values().as_any().downcast_ref().unwrap();
    let kept: Vec<usize> = (0..items.num_columns())
        .filter(|at| !ADDED.contains(&items.fields()[*at].name().as_str()))
        .collect();
    assert!(kept.len() < items.num_columns());
    let fields: Fields = kept.iter().map(|at| items.fields()[*at].clone()).collect();
    let columns = kept.iter().map(|at| items.column(*at).clone()).collect();
    let items = StructArray::new(fields.clone(), columns, None);
    let element = Arc::new(Field::new(element.name(), DataType::Struct(fields), false));
    ListArray::new(element, list.offsets().clone(), Arc::new(items), None)
}

/// The batch as version 1 would have it.
fn old(batch: &RecordBatch) -> RecordBatch {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = Default::default();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        // The payment's kind is of version 2, the invoice's is not; and so with the discounts.
        let of_2 = ["credits", "discount", "discount_percent", "amount_credited"];
        let of_3 = ["tax_rounding", "profile_version", "credited"];
        if of_2.contains(&name) || of_3.contains(&name) {
            continue;
        }
        let column = match column.as_any().downcast_ref::<ListArray>() {
            Some(list) => Arc::new(old_list(list, name)),
            None => column.clone(),
        };
        fields.push(Field::new(
            name,
            column.data_type().clone(),
            field.is_nullable(),
        ));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Puts an object of version 1 in the place of `file`.
pub(crate) async fn age(world: &World, file: &ArchiveFile) {
    let storage = s3().await;
    let copy = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    storage.get_to_file(&file.object_key, &copy).await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&copy).unwrap()).unwrap();
    let entries = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let entries: Vec<KeyValue> = entries
        .iter()
        // Files of that time had no checksums of their parts.
        .filter(|entry| entry.key != meta::CHECKS)
        .map(|entry| {
            let mut entry = entry.clone();
            if entry.key == meta::SCHEMA_VERSION {
                entry.value = Some("1".into());
            }
            entry
        })
        .collect();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(|b| old(&b.unwrap())).collect();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(entries))
        .set_statistics_truncate_length(Some(64))
        .build();
    let mut out = tempfile::NamedTempFile::new().unwrap();
    let mut writer =
        ArrowWriter::try_new(out.as_file_mut(), batches[0].schema(), Some(properties)).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    let written = writer.close().unwrap();
    out.flush().unwrap();
    let tail = written
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .flat_map(|c| [c.column_index_offset(), c.offset_index_offset()])
        .flatten()
        .min()
        .unwrap();
    let mut bytes = Vec::new();
    File::open(out.path())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let sha256: [u8; 32] = Sha256::digest(&bytes).into();
    let key = file.object_key.replace(".parquet", "-old.parquet");
    storage
        .put_if_absent(&key, out.path(), sha256)
        .await
        .unwrap();
    let size = i64::try_from(bytes.len()).unwrap();
    let changed = sql()
        .await
        .execute(
            "update archive_files set object_key = $1, bytes = $2, tail_offset = $3, sha256 = $4, \
            tail_sha256 = null, schema_version = 1
             where tenant_id = $5 and period = $6 and part = $7 and generation = $8",
            &[
                &key,
                &size,
                &tail,
                &sha256.to_vec(),
                &world.tenant.0,
                &file.period.to_string(),
                &file.part,
                &file.generation,
            ],
        )
        .await
        .unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_an_old_file_lacks_are_null() {
    let (world, documents) = archived("versions", 12).await;
    let files = world.archive.ls(world.tenant).await.unwrap();
    let (aged, young) = files.split_at(6);
    for file in aged {
        age(&world, file).await;
    }
    let periods: Vec<String> = aged.iter().map(|f| f.period.to_string()).collect();
    let is_old =
        |i: &&Invoice| periods.contains(&i.issue_date.unwrap().format("%Y-%m").to_string());
    let old: Vec<&Invoice> = documents.iter().filter(is_old).collect();
    assert_eq!((old.len(), young.len()), (72, 6));
    let answer = async |sql: &str| {
        ask(&world.archive, world.tenant, sql, QueryOptions::default())
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    };
    // What both versions have is the same in both.
    let sums = answer(
        "select count(*), sum(total), count(discount), count(amount_credited) from invoices",
    )
    .await;
    let total: Decimal = documents.iter().map(|i| i.total).sum();
    assert_eq!(sums["rows"][0][0], documents.len());
    assert_eq!(decimal(&sums["rows"][0][1]), total);
    assert_eq!(
        (&sums["rows"][0][2], &sums["rows"][0][3]),
        (&72.into(), &72.into())
    );
    // Fields that only the new lists have, alone and beside others.
    let lines: usize = documents.iter().map(|i| i.lines.len()).sum();
    let old_lines: usize = old.iter().map(|i| i.lines.len()).sum();
    let of_lines = "select count(*), count(document_discount), count(discount_percent) from lines";
    let wanted = [lines, lines - old_lines, 0].map(|n| n.to_string());
    assert_eq!(rows(&answer(of_lines).await), [wanted]);
    let beside = answer("select sum(net), sum(document_discount), count(sku) from lines").await;
    let net: Decimal = documents.iter().map(|i| i.subtotal).sum();
    assert_eq!(decimal(&beside["rows"][0][0]), net);
    let kinds =
        "select coalesce(kind, 'unknown') as k, count(*) from payments group by 1 order by 1";
    assert_eq!(
        rows(&answer(kinds).await),
        [["payment", "72"], ["unknown", "72"]]
    );
    let filtered =
        "select count(*) from payments where kind is null and reverses is null and year = 2022";
    assert_eq!(answer(filtered).await["rows"][0][0], 48);
    let whole =
        answer("select * from lines where document_discount is null order by invoice_id, line_no")
            .await;
    assert_eq!(whole["rows"].as_array().unwrap().len(), old_lines);
    let events = answer("select count(*) from events where event_type = 'invoice.created'").await;
    assert_eq!(events["rows"][0][0], documents.len());
}
