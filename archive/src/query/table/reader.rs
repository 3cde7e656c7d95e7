//! How the engine reads files: through the archive's own storage and footer cache, never by a path.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;
use sheaf_store::ArchiveFile;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::hot::HotPart;
use crate::ArchiveError;
use crate::file::footer::Footer;
use crate::object::cache::Objects;
use crate::query::answer::stats::Counters;

/// Bytes between two ranges up to which one request for both is better than two: about what a
/// request costs.
const GAP: u64 = 128 * 1024;
/// Bytes of one request, at most, where ranges are put together.
const MAX_REQUEST: u64 = 8 * 1024 * 1024;
/// Requests of one reader at a time.
const PARALLEL: usize = 4;

/// Where the rows of a file are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Cold(Arc<ArchiveFile>),
    Hot(Arc<HotPart>),
}

/// Makes the readers of one query.
pub(crate) struct Readers {
    pub(crate) objects: Arc<Objects>,
    pub(crate) counters: Arc<Counters>,
    /// The first failure of the storage. The engine would only keep its text.
    pub(crate) failure: Mutex<Option<ArchiveError>>,
    /// Where what waits for others is done.
    pub(crate) away: Handle,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    /// Does what waits for the network or a disk on threads that compute nothing: no query's
    /// computation is in its way, and connections that it opens outlive this query.
    pub(crate) async fn away<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<ArchiveError> + Send + 'static,
    {
        let done = AbortOnDropHandle::new(self.away.spawn(work)).await;
        done.map_err(|e| E::from(ArchiveError::from(e)))?
    }

    async fn footer(self: &Arc<Self>, file: &Arc<ArchiveFile>) -> ParquetResult<Arc<Footer>> {
        let (readers, file) = (Arc::clone(self), Arc::clone(file));
        let footer = self.away(async move {
            let read = |bytes| readers.counters.request(bytes);
            readers.objects.footer_counted(&file, read).await
        });
        footer.await.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: ArchiveError) -> ParquetError {
        let text = ParquetError::General("the archive failed".to_owned());
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        text
    }

    /// Takes the first failure.
    pub(crate) fn take_failure(&self) -> Option<ArchiveError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// [`Readers`] as the engine wants them.
#[derive(Debug)]
pub(crate) struct Factory(pub(crate) Arc<Readers>);

impl ParquetFileReaderFactory for Factory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> EngineResult<Box<dyn AsyncFileReader + Send>> {
        let Some(source) = file.extension::<Source>() else {
            let detail = "a file that the catalog did not name";
            return Err(DataFusionError::Internal(detail.to_owned()));
        };
        let name = file.object_meta.location.as_ref();
        Ok(Box::new(Reader {
            source: source.clone(),
            readers: Arc::clone(&self.0),
            metrics: ParquetFileMetrics::new(partition_index, name, metrics),
        }))
    }
}

struct Reader {
    source: Source,
    readers: Arc<Readers>,
    metrics: ParquetFileMetrics,
}

/// Puts neighbours together. Each input range is inside of exactly one of the answer.
fn together(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last)
                if range.start <= last.end.saturating_add(GAP)
                    && range.end.max(last.end) - last.start <= MAX_REQUEST
                    || range.end <= last.end =>
            {
                last.end = last.end.max(range.end);
            }
            _ => out.push(range),
        }
    }
    out
}

impl Reader {
    async fn fetch(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        match &self.source {
            Source::Cold(file) => {
                let (readers, file) = (Arc::clone(&self.readers), Arc::clone(file));
                let bytes = self.readers.away(async move {
                    let read = |bytes| readers.counters.request(bytes);
                    let footer = readers.objects.footer_counted(&file, read).await?;
                    readers.objects.parts(&footer, range).await
                });
                let bytes = bytes.await.map_err(|e| self.readers.failed(e))?;
                self.readers.counters.request(bytes.len() as u64);
                self.metrics.bytes_scanned.add(bytes.len());
                Ok(bytes)
            }
            Source::Hot(part) => {
                let part = Arc::clone(part);
                let read = self.readers.away.spawn_blocking(move || part.read(&range));
                let read = read.await.map_err(ArchiveError::from);
                let read = read.and_then(|read| read.map_err(ArchiveError::from));
                let bytes = read.map_err(|e| self.readers.failed(e))?;
                self.metrics.bytes_scanned.add(bytes.len());
                Ok(bytes)
            }
        }
    }

    async fn fetch_all(&self, ranges: Vec<Range<u64>>) -> ParquetResult<Vec<Bytes>> {
        let requests = match &self.source {
            // Whole chunks, for their checksums: a page alone has none.
            Source::Cold(file) => {
                let footer = self.readers.footer(file).await?;
                let whole = ranges.iter().map(|range| footer.whole_chunks(range));
                together(whole.collect())
            }
            Source::Hot(_) => together(ranges.clone()),
        };
        let fetched: Vec<Bytes> = stream::iter(requests.clone())
            .map(|range| self.fetch(range))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let cut = |range: &Range<u64>| {
            let at = requests
                .partition_point(|request| request.start <= range.start)
                .checked_sub(1)?;
            let offset = |to: u64| usize::try_from(to.checked_sub(requests[at].start)?).ok();
            let (from, to) = (offset(range.start)?, offset(range.end)?);
            (from <= to && to <= fetched[at].len()).then(|| fetched[at].slice(from..to))
        };
        ranges
            .iter()
            .map(|range| {
                cut(range).ok_or_else(|| ParquetError::EOF("a range that was not read".to_owned()))
            })
            .collect()
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.fetch(range).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.fetch_all(ranges).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            match &self.source {
                Source::Cold(file) => {
                    self.readers.counters.opened(&file.object_key);
                    let footer = self.readers.footer(file).await?;
                    Ok(Arc::clone(footer.arrow.metadata()))
                }
                Source::Hot(part) => Ok(Arc::clone(&part.metadata)),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_one_request_and_far_ones_are_not() {
        let far = 10 * MAX_REQUEST;
        assert_eq!(
            together(vec![far..far + 5, 10..20, 0..5, 20 + GAP..30 + GAP]),
            [0..30 + GAP, far..far + 5]
        );
        assert_eq!(
            together(vec![0..4, 5 + GAP..6 + GAP]),
            [0..4, 5 + GAP..6 + GAP]
        );
        // No request beyond its bound by putting together; a single range may be larger.
        let half = MAX_REQUEST / 2;
        assert_eq!(
            together(vec![0..half, half..2 * half, 2 * half..2 * half + 1]),
            [0..2 * half, 2 * half..2 * half + 1]
        );
        assert_eq!(
            together(vec![0..far, 3..4, 5..9]),
            [Range { start: 0, end: far }]
        );
    }
}
