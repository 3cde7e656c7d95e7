//! What is written to Parquet comes back equal, and as the same bytes.

use std::fs::File;

use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sheaf_archive::file::rows::Rows;
use sheaf_archive::file::schema::meta;
use sheaf_archive::file::writer::{EncodedPart, MAX_GROUP_ROWS, PartWriter};
use sheaf_model::{Period, TenantId, id};
use sheaf_store::ArchivedInvoice;
use uuid::Uuid;

fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(0x0190_163d_8694_739b_aea5_966c_26f8_ad90))
}

fn march() -> Period {
    Period {
        year: 2024,
        month: 3,
    }
}

/// `count` ascending ids of the period.
fn ids(count: usize) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = (0..count)
        .map(|_| id::id_for_date(march().first_day()))
        .collect();
    ids.sort_unstable();
    ids
}

fn write(rows: &[ArchivedInvoice]) -> EncodedPart {
    let mut writer = PartWriter::new(tenant(), march(), [].into()).unwrap();
    writer.push(rows).unwrap();
    writer.finish().unwrap()
}

fn read(part: &EncodedPart) -> Vec<ArchivedInvoice> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&part.path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let mut out = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let rows = Rows::new(&batch, tenant()).unwrap();
        out.extend((0..rows.len()).map(|row| rows.archived(row).unwrap()));
    }
    out
}

fn any_rows() -> impl Strategy<Value = Vec<ArchivedInvoice>> {
    (1_usize..5).prop_flat_map(|count| {
        ids(count)
            .into_iter()
            .map(|id| crate::support::archived(tenant(), id, 50))
            .collect::<Vec<_>>()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_invoice_comes_back_as_it_was(rows in any_rows()) {
        // Decimals compare by value, so the rendered bytes are looked at as well.
        let back = read(&write(&rows));
        prop_assert_eq!(&back, &rows);
        for (back, row) in back.iter().zip(&rows) {
            prop_assert_eq!(back.invoice.render(), row.invoice.render());
        }
    }
}

fn sample(count: usize) -> Vec<ArchivedInvoice> {
    let mut runner = TestRunner::deterministic();
    let one = crate::support::archived(tenant(), Uuid::nil(), 2)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    ids(count)
        .into_iter()
        .map(|id| {
            let mut row = one.clone();
            row.invoice.id = id;
            row
        })
        .collect()
}

#[test]
fn row_groups_pages_and_filters_are_laid_out_for_point_reads() {
    let part = write(&sample(20_000));
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(
        File::open(&part.path).unwrap(),
        options,
    )
    .unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().created_by(), Some("sheaf"));
    assert!(metadata.num_row_groups() >= 3);
    let mut at_byte = 4;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        assert!(usize::try_from(group.num_rows()).unwrap() <= MAX_GROUP_ROWS);
        let id = group.column(0);
        assert_eq!(id.statistics().unwrap().min_bytes_opt().unwrap().len(), 36);
        let pages = metadata.offset_index().unwrap()[at][0]
            .page_locations()
            .len();
        assert!(
            pages >= usize::try_from(group.num_rows()).unwrap().div_ceil(2_048),
            "{pages} pages"
        );
        // Its columns are one range of bytes, its Bloom filters come right behind, then the next
        // group.
        for column in group.columns() {
            let (start, length) = column.byte_range();
            assert_eq!(start, at_byte);
            at_byte += length;
        }
        for column in group.columns() {
            if let Some(start) = column.bloom_filter_offset() {
                assert_eq!(u64::try_from(start).unwrap(), at_byte);
                at_byte += u64::try_from(column.bloom_filter_length().unwrap()).unwrap();
            }
        }
        let blooms: Vec<_> = group
            .columns()
            .iter()
            .filter(|c| c.bloom_filter_offset().is_some())
            .map(|c| c.column_path().string())
            .collect();
        assert_eq!(blooms, ["id", "external_id", "number", "customer_id"]);
    }
    assert_eq!(at_byte, part.tail_offset);
    assert!(part.tail_offset < part.bytes);
    assert_eq!(std::fs::metadata(&part.path).unwrap().len(), part.bytes);
    let entries = metadata.file_metadata().key_value_metadata().unwrap();
    let entry = |key: &str| {
        entries
            .iter()
            .find(|e| e.key == key)
            .unwrap()
            .value
            .clone()
            .unwrap()
    };
    assert_eq!(entry(meta::SCHEMA_VERSION), "3");
    assert_eq!(entry(meta::TENANT_ID), tenant().to_string());
    assert_eq!(entry(meta::PERIOD), "2024-03");
    assert_eq!(entry(meta::INVOICES), "20000");
}

#[test]
fn a_small_file_that_is_kept_has_no_index_of_pages() {
    let write = |count: usize| {
        let (rows, keys) = (sample(count), [].into());
        let mut writer = PartWriter::kept(tenant(), march(), keys, count).unwrap();
        writer.push(&rows).unwrap();
        let part = writer.finish().unwrap();
        assert_eq!(read(&part), rows);
        part
    };
    let (small, large) = (write(1_024), write(1_025));
    for (part, pages) in [(&small, None), (&large, Some(2))] {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let file = File::open(&part.path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
        let index = reader.metadata().offset_index();
        assert_eq!(index.map(|index| index[0][0].page_locations().len()), pages);
    }
    // From its tail on there is the footer alone.
    let bytes = std::fs::read(&small.path).unwrap();
    let end = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    assert_eq!(
        usize::try_from(small.tail_offset).unwrap(),
        end - usize::try_from(length).unwrap()
    );
}

#[test]
fn a_row_group_of_long_invoices_ends_at_its_size() {
    let mut rows = sample(400);
    for (at, row) in rows.iter_mut().enumerate() {
        // Hardly compressible: 20 KB of digits each.
        let noise: String = (0..1_000)
            .map(|n| {
                format!(
                    "{:020}",
                    (at * 1_000 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                )
            })
            .collect();
        let json = format!(r#"{{"noise": "{noise}"}}"#);
        row.invoice.metadata = sheaf_model::Metadata::parse(&json).unwrap();
    }
    let part = write(&rows);
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&part.path).unwrap()).unwrap();
    for group in reader.metadata().row_groups() {
        assert!(
            group.compressed_size() < 3 * 1024 * 1024,
            "{} bytes",
            group.compressed_size()
        );
    }
    assert!(reader.metadata().num_row_groups() > 1);
    assert_eq!(read(&part), rows);
}

#[test]
fn what_does_not_belong_into_a_part_is_refused() {
    let rows = sample(2);
    let refused = |rows: &[ArchivedInvoice], period| {
        let mut writer = PartWriter::new(tenant(), period, [].into()).unwrap();
        writer
            .push(rows)
            .and_then(|()| writer.finish().map(drop))
            .expect_err("was taken")
            .to_string()
    };
    assert!(refused(&[], march()).contains("at least one"));
    assert!(refused(&rows, march().next()).contains("is not of 2024-04"));
    assert!(refused(&[rows[1].clone(), rows[0].clone()], march()).contains("out of order"));
    let mut foreign = rows.clone();
    foreign[0].invoice.tenant_id = TenantId(Uuid::nil());
    assert!(refused(&foreign, march()).contains("another tenant"));
    let mut precise = rows;
    precise[0].invoice.total = "1.00001".parse().unwrap();
    assert!(refused(&precise, march()).contains("DECIMAL(18,4)"));
}

/// A file of a time before the nullable columns were added.
#[test]
fn a_missing_nullable_column_reads_as_null() {
    let rows = sample(1);
    let part = write(&rows);
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&part.path).unwrap()).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|at| !batch.schema().field(*at).name().starts_with("customer_"))
        .collect();
    let older = batch.project(&keep).unwrap();
    let back = Rows::new(&older, tenant()).unwrap().invoice(0).unwrap();
    let mut expected = rows[0].invoice.clone();
    expected.customer = None;
    expected.customer_id = None;
    assert_eq!(back, expected);
    let without_total: Vec<usize> = (0..batch.num_columns())
        .filter(|at| batch.schema().field(*at).name() != "total")
        .collect();
    assert!(Rows::new(&batch.project(&without_total).unwrap(), tenant()).is_err());
}

/// Why row groups have checksums of their own: the format alone lets wrong rows through.
#[test]
fn without_checksums_a_flipped_byte_can_be_read_as_another_row() {
    let mut rows = sample(400);
    for (n, row) in rows.iter_mut().enumerate() {
        row.invoice.external_id = Some(format!("ext-{n}"));
        row.invoice.version = i64::try_from(n).unwrap();
    }
    let part = write(&rows);
    let bytes = std::fs::read(&part.path).unwrap();
    let (mut right, mut refused, mut wrong) = (0, 0, 0);
    let end = usize::try_from(part.tail_offset).unwrap();
    for at in (4..end).step_by(end / 1_000) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x20;
        // No endless loop of the decoder, at least. Now and then it panics, which is a refusal as
        // well.
        let read = std::panic::catch_unwind(|| decode(bytes.into()));
        match read.ok().flatten() {
            Some(read) if read == rows => right += 1,
            Some(_) => wrong += 1,
            None => refused += 1,
        }
    }

    assert!(wrong > 0, "{right} right, {refused} refused");
}

fn decode(bytes: bytes::Bytes) -> Option<Vec<ArchivedInvoice>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .ok()?
        .build()
        .ok()?;
    let mut out = Vec::new();
    for batch in reader {
        let batch = batch.ok()?;
        let rows = Rows::new(&batch, tenant()).ok()?;
        for row in 0..rows.len() {
            out.push(rows.archived(row).ok()?);
        }
    }
    Some(out)
}
