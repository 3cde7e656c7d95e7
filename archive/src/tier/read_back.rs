//! Reads an object back from the storage and compares it with what it should be. Tiering does it
//! before it lets the hot rows go; `verify` does it whenever asked.

use std::collections::VecDeque;
use std::fs::File;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use sha2::{Digest, Sha256};
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, ArchivedInvoice};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::footer::{Footer, entry};
use crate::file::rows::Rows;
use crate::file::schema::meta;
use crate::file::totals::Totals;
use crate::file::writer::EncodedPart;
use crate::object::purpose::count_read;
use crate::object::storage::{ColdStorage, Fetched};

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

/// Bytes that a paced fetch takes at once.
const PACED: u64 = 4 * 1024 * 1024;

/// A bound on the bytes that are read in a second.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    free: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.get(),
            free: Instant::now(),
        }
    }

    /// Waits until this number of bytes may be read.
    async fn take(&mut self, bytes: u64) {
        sleep_until(self.free).await;
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        self.free = self.free.max(Instant::now()) + Duration::from_micros(micros);
    }
}

impl Expected {
    /// What the catalog says of a file; `None` when it has no figures of it.
    pub(crate) fn of(file: &ArchiveFile) -> Option<Self> {
        Some(Self {
            object_key: file.object_key.clone(),
            tenant: file.tenant_id,
            period: file.period,
            bytes: u64::try_from(file.bytes).ok()?,
            sha256: file.sha256?,
        })
    }

    fn corrupt(&self, detail: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::corrupt(&self.object_key, detail)
    }
}

/// Copies the whole object into a temporary file, and checks size and hash.
pub(crate) async fn fetch(
    storage: &dyn ColdStorage,
    expected: &Expected,
    pace: Option<&mut Pace>,
) -> Result<TempPath, ArchiveError> {
    let copy = NamedTempFile::with_prefix("sheaf-check-")?.into_temp_path();
    let fetched = match pace {
        None => {
            let fetched = storage.get_to_file(&expected.object_key, &copy).await?;
            count_read(fetched.bytes);
            fetched
        }
        Some(pace) => fetch_paced(storage, expected, &copy, pace).await?,
    };
    if fetched.bytes != expected.bytes {
        let detail = format!("{} bytes, expected {}", fetched.bytes, expected.bytes);
        return Err(expected.corrupt(detail));
    }
    if fetched.sha256 != expected.sha256 {
        return Err(expected.corrupt("the checksum differs"));
    }
    Ok(copy)
}

/// The object piece by piece. Its size is known to be the expected one.
async fn fetch_paced(
    storage: &dyn ColdStorage,
    expected: &Expected,
    copy: &Path,
    pace: &mut Pace,
) -> Result<Fetched, ArchiveError> {
    let mut file = tokio::fs::File::create(copy).await?;
    let (mut hash, mut at) = (Sha256::new(), 0);
    while at < expected.bytes {
        let end = expected.bytes.min(at + PACED);
        pace.take(end - at).await;
        let piece = storage.get_range(&expected.object_key, at..end).await?;
        count_read(piece.len() as u64);
        hash.update(&piece);
        file.write_all(&piece).await?;
        at = end;
    }
    file.flush().await?;
    Ok(Fetched {
        bytes: at,
        sha256: hash.finalize().into(),
    })
}

/// Fetches the whole object, checks size and hash, and decodes every row.
pub(crate) async fn read_back(
    storage: &dyn ColdStorage,
    expected: Expected,
    pace: Option<&mut Pace>,
) -> Result<Contents, ArchiveError> {
    let copy = fetch(storage, &expected, pace).await?;
    tokio::task::spawn_blocking(move || {
        let (mut totals, mut ids) = (Totals::default(), Vec::new());
        let mut rows = RowReader::open(&copy, &expected)?;
        while let Some(row) = rows.next_row()? {
            if !totals.add(&row) {
                return Err(expected.corrupt("the sum of totals is out of range"));
            }
            ids.push((row.invoice.id, row.invoice.version));
        }
        Ok(Contents { totals, ids })
    })
    .await?
}

/// Reads the object that was just written, and compares it with what was meant.
pub(crate) async fn verify_written(
    storage: &dyn ColdStorage,
    file: &ArchiveFile,
    part: &EncodedPart,
) -> Result<(), ArchiveError> {
    let expected = Expected {
        object_key: file.object_key.clone(),
        tenant: file.tenant_id,
        period: file.period,
        bytes: part.bytes,
        sha256: part.sha256,
    };
    let contents = read_back(storage, expected, None).await?;
    if let Some(difference) = contents.totals.difference(&part.totals) {
        return Err(ArchiveError::corrupt(&file.object_key, difference));
    }
    if contents.ids != part.ids {
        return Err(ArchiveError::corrupt(
            &file.object_key,
            "its ids and versions differ from those written",
        ));
    }
    Ok(())
}

/// The rows of a local copy, one by one, ascending by id. Blocks: run it off the runtime's threads.
pub(crate) struct RowReader {
    batches: ParquetRecordBatchReader,
    expected: Expected,
    ready: VecDeque<ArchivedInvoice>,
    last: Option<Uuid>,
}

impl RowReader {
    pub(crate) fn open(path: &Path, expected: &Expected) -> Result<Self, ArchiveError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)
            .map_err(|e| expected.corrupt(e))?;
        // The same checks as a reader's.
        let metadata = builder.metadata().as_ref().clone();
        Footer::of_metadata(&expected.object_key, expected.tenant, metadata)?;
        let period = expected.period.to_string();
        if entry(builder.metadata(), meta::PERIOD) != Some(period.as_str()) {
            return Err(expected.corrupt("written for another period"));
        }
        let batches = builder
            .with_batch_size(BATCH)
            .build()
            .map_err(|e| expected.corrupt(e))?;
        Ok(Self {
            batches,
            expected: expected.clone(),
            ready: VecDeque::new(),
            last: None,
        })
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<ArchivedInvoice>, ArchiveError> {
        while self.ready.is_empty() {
            let Some(batch) = self.batches.next() else {
                return Ok(None);
            };
            let batch = batch.map_err(|e| self.expected.corrupt(e))?;
            let rows = Rows::new(&batch, self.expected.tenant);
            let rows = rows.map_err(|e| self.expected.corrupt(e))?;
            for row in 0..rows.len() {
                let row = rows.archived(row).map_err(|e| self.expected.corrupt(e))?;
                self.ready.push_back(row);
            }
        }
        let row = self.ready.pop_front();
        if let Some(row) = &row {
            let id = row.invoice.id;
            if !self.expected.period.covers(id) {
                return Err(self
                    .expected
                    .corrupt(format!("invoice {id} is of another period")));
            }
            if self.last.is_some_and(|last| last >= id) {
                return Err(self
                    .expected
                    .corrupt(format!("invoice {id} is out of order")));
            }
            self.last = Some(id);
        }
        Ok(row)
    }
}
