//! The hot rows of a snapshot, a period at a time, as Parquet in a temporary file: from there on
//! they are read like any other file of the archive, with its pruning and its projections. Nobody
//! names these files but this query.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchivedInvoice, TenantSnapshot};
use tempfile::TempPath;
use tokio::sync::Mutex;

use crate::ArchiveError;
use crate::file::metadata_columns::MetadataKeys;
use crate::file::writer::{EncodedPart, PartWriter};
use crate::query::error::QueryError;

/// Invoices that are read at once.
const PAGE: usize = 512;

/// Hot rows of one period, encoded.
#[derive(Debug)]
pub(crate) struct HotPart {
    pub(crate) name: String,
    pub(crate) period: Period,
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) metadata: Arc<ParquetMetaData>,
    file: File,
    _path: TempPath,
}

impl HotPart {
    fn open(part: EncodedPart, period: Period, number: usize) -> Result<Self, ArchiveError> {
        let name = format!("hot/{period}/p{number}");
        let corrupt = |e: parquet::errors::ParquetError| ArchiveError::corrupt(&name, e);
        let file = File::open(&part.path)?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(&file)
            .map_err(corrupt)?;
        Ok(Self {
            period,
            rows: part.ids.len(),
            bytes: part.bytes,
            metadata: Arc::new(metadata),
            file,
            _path: part.path,
            name,
        })
    }

    /// Blocks on the local disk.
    pub(crate) fn read(&self, range: &std::ops::Range<u64>) -> std::io::Result<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, range.start)?;
        Ok(buffer.into())
    }
}

/// The hot tier of one tenant at one snapshot, read as far as a query needs it.
pub(crate) struct HotTier {
    tenant: TenantId,
    keys: MetadataKeys,
    /// Ascending.
    periods: Vec<Period>,
    /// Invoices that one query may read.
    limit: usize,
    state: Mutex<State>,
}

struct State {
    snapshot: TenantSnapshot,
    read: usize,
    parts: HashMap<Period, Vec<Arc<HotPart>>>,
}

impl std::fmt::Debug for HotTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotTier")
            .field("periods", &self.periods)
            .finish_non_exhaustive()
    }
}

impl HotTier {
    /// Finds out which periods have hot rows: a probe of the index each.
    pub(crate) async fn open(
        snapshot: TenantSnapshot,
        tenant: TenantId,
        keys: MetadataKeys,
        limit: usize,
    ) -> Result<Self, ArchiveError> {
        let mut periods = Vec::new();
        let mut from = Period {
            year: 1970,
            month: 1,
        };
        while let Some(period) = snapshot.next_hot_period(from).await? {
            periods.push(period);
            from = period.next();
        }
        Ok(Self {
            tenant,
            keys,
            periods,
            limit,
            state: Mutex::new(State {
                snapshot,
                read: 0,
                parts: HashMap::new(),
            }),
        })
    }

    pub(crate) fn periods(&self) -> &[Period] {
        &self.periods
    }

    /// The rows of a period; they are read once in a query, whatever number of tables it scans.
    /// `read` is told how many there are when that happens.
    pub(crate) async fn parts(
        &self,
        period: Period,
        read: impl FnOnce(usize) + Send,
    ) -> Result<Vec<Arc<HotPart>>, QueryError> {
        let mut state = self.state.lock().await;
        if let Some(parts) = state.parts.get(&period) {
            return Ok(parts.clone());
        }
        let room = self.limit.saturating_sub(state.read);
        let parts = self.spool(&state.snapshot, period, room).await?;
        let rows = parts.iter().map(|part| part.rows).sum();
        read(rows);
        state.read += rows;
        state.parts.insert(period, parts.clone());
        Ok(parts)
    }

    async fn spool(
        &self,
        snapshot: &TenantSnapshot,
        period: Period,
        room: usize,
    ) -> Result<Vec<Arc<HotPart>>, QueryError> {
        let mut parts: Vec<Arc<HotPart>> = Vec::new();
        let (mut writer, mut last, mut rows) = (None, None, 0);
        loop {
            let page = snapshot
                .hot_page(period, last, PAGE)
                .await
                .map_err(ArchiveError::from)?;
            rows += page.len();
            if rows > room {
                return Err(QueryError::TooManyHotRows { limit: self.limit });
            }
            last = page.last().map(|row| row.invoice.id).or(last);
            let (tenant, number, ended) = (self.tenant, parts.len(), page.is_empty());
            let keys = Arc::clone(&self.keys);
            let step = move || -> Result<_, ArchiveError> {
                let writer = push(writer, tenant, period, keys, &page)?;
                match writer {
                    Some(full) if ended || full.is_full() => {
                        let part = HotPart::open(full.finish()?, period, number)?;
                        Ok((None, Some(part)))
                    }
                    going => Ok((going, None)),
                }
            };
            let (next, part) = tokio::task::spawn_blocking(step)
                .await
                .map_err(ArchiveError::from)??;
            writer = next;
            parts.extend(part.map(Arc::new));
            if ended {
                return Ok(parts);
            }
        }
    }
}

/// A part is begun with its first row.
fn push(
    writer: Option<PartWriter>,
    tenant: TenantId,
    period: Period,
    keys: MetadataKeys,
    page: &[ArchivedInvoice],
) -> Result<Option<PartWriter>, ArchiveError> {
    if page.is_empty() {
        return Ok(writer);
    }
    let mut writer = match writer {
        Some(writer) => writer,
        None => PartWriter::new(tenant, period, keys)?,
    };
    writer.push(page)?;
    Ok(Some(writer))
}
