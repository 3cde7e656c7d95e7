//! Reads an object back from the storage and compares it with what it should be. Tiering does it before it lets the
//! hot rows go; `verify` does it whenever asked.

use std::fs::File;
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sheaf_model::{Period, TenantId};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::ArchiveError;
use crate::decode::Rows;
use crate::footer::{Footer, entry};
use crate::schema::meta;
use crate::storage::ColdStorage;
use crate::totals::Totals;

/// Rows that are decoded at once.
const BATCH: usize = 256;

/// What an object must be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) object_key: String,
    pub(crate) tenant: TenantId,
    pub(crate) period: Period,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

/// What an object holds, read row by row.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) totals: Totals,
    /// Id and version of each row, ascending.
    pub(crate) ids: Vec<(Uuid, i64)>,
}

/// Fetches the whole object, checks size and hash, and decodes every row.
pub(crate) async fn read_back(
    storage: &dyn ColdStorage,
    expected: Expected,
) -> Result<Contents, ArchiveError> {
    let copy = NamedTempFile::with_prefix("sheaf-check-")?.into_temp_path();
    let fetched = storage.get_to_file(&expected.object_key, &copy).await?;
    if fetched.bytes != expected.bytes {
        let detail = format!("{} bytes, expected {}", fetched.bytes, expected.bytes);
        return Err(ArchiveError::corrupt(&expected.object_key, detail));
    }
    if fetched.sha256 != expected.sha256 {
        return Err(ArchiveError::corrupt(
            &expected.object_key,
            "the checksum differs",
        ));
    }
    tokio::task::spawn_blocking(move || decode(&copy, &expected)).await?
}

fn decode(path: &Path, expected: &Expected) -> Result<Contents, ArchiveError> {
    let key = expected.object_key.as_str();
    let corrupt = |e: &dyn std::fmt::Display| ArchiveError::corrupt(key, e);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(|e| corrupt(&e))?;
    // The same checks as a reader's.
    Footer::of_metadata(key, expected.tenant, builder.metadata().as_ref().clone())?;
    if entry(builder.metadata(), meta::PERIOD) != Some(expected.period.to_string().as_str()) {
        return Err(corrupt(&"written for another period"));
    }
    let reader = builder
        .with_batch_size(BATCH)
        .build()
        .map_err(|e| corrupt(&e))?;
    let (mut totals, mut ids) = (Totals::default(), Vec::new());
    for batch in reader {
        let batch = batch.map_err(|e| corrupt(&e))?;
        let rows = Rows::new(&batch, expected.tenant).map_err(|e| corrupt(&e))?;
        for row in 0..rows.len() {
            let row = rows.archived(row).map_err(|e| corrupt(&e))?;
            let id = row.invoice.id;
            if Period::of(id) != expected.period {
                return Err(corrupt(&format!("invoice {id} is of another period")));
            }
            if ids.last().is_some_and(|(last, _)| *last >= id) {
                return Err(corrupt(&format!("invoice {id} is out of order")));
            }
            if !totals.add(&row) {
                return Err(corrupt(&"the sum of totals is out of range"));
            }
            ids.push((id, row.invoice.version));
        }
    }
    Ok(Contents { totals, ids })
}
