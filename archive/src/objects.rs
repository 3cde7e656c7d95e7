//! Objects as readers see them: footers and Bloom filters through bounded caches, row groups as they are asked for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use metrics::counter;
use parquet::bloom_filter::Sbbf;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use sheaf_store::ArchiveFile;

use crate::ArchiveError;
use crate::footer::Footer;
use crate::storage::ColdStorage;

/// Memory for footers unless the archive is told otherwise, in bytes.
pub const FOOTER_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Memory for Bloom filters, in bytes.
const BLOOM_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// A cached value that knows its size.
pub(crate) trait Sized64 {
    /// Bytes of memory, roughly; never changes.
    fn size(&self) -> u64;
}

/// Weighs cached values by the bytes that they take.
#[derive(Clone)]
pub(crate) struct BySize;

impl<K, V: Sized64> Weighter<K, Arc<V>> for BySize {
    fn weight(&self, _: &K, value: &Arc<V>) -> u64 {
        value.size()
    }
}

impl Sized64 for Footer {
    fn size(&self) -> u64 {
        self.weight()
    }
}

/// A Bloom filter of one column chunk.
pub(crate) struct Bloom {
    filter: Sbbf,
    bytes: u64,
}

impl Sized64 for Bloom {
    fn size(&self) -> u64 {
        self.bytes + 128
    }
}

/// A cache that holds at most `bytes`. Objects are never rewritten under a key, so nothing in it grows stale.
pub(crate) type ByteCache<K, V> = Cache<K, Arc<V>, BySize>;

/// Makes a cache of `bytes`, expecting values of about `typical` bytes. One shard: a value may then be as large as
/// most of the cache, and is still kept.
pub(crate) fn byte_cache<K: Eq + std::hash::Hash, V: Sized64>(
    bytes: u64,
    typical: u64,
) -> ByteCache<K, V> {
    let items = usize::try_from(bytes / typical.max(1))
        .unwrap_or(usize::MAX)
        .max(1);
    let options = OptionsBuilder::new()
        .estimated_items_capacity(items)
        .weight_capacity(bytes)
        .shards(1)
        .build();
    let Ok(options) = options else {
        // Both capacities are given; nothing else can be missing.
        return Cache::with_weighter(items, bytes, BySize);
    };
    Cache::with_options(
        options,
        BySize,
        DefaultHashBuilder::default(),
        Default::default(),
    )
}

type BloomKey = (Arc<str>, usize, &'static str);

/// The objects of a storage.
pub(crate) struct Objects {
    storage: Arc<dyn ColdStorage>,
    footers: ByteCache<Arc<str>, Footer>,
    blooms: ByteCache<BloomKey, Bloom>,
}

impl Objects {
    pub(crate) fn new(storage: Arc<dyn ColdStorage>, footer_bytes: u64) -> Self {
        let footers = byte_cache(footer_bytes, 64 * 1024);
        Self {
            storage,
            footers,
            blooms: byte_cache(BLOOM_CACHE_BYTES, 16 * 1024),
        }
    }

    /// Reads a range, counted.
    pub(crate) async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let bytes = self.storage.get_range(key, range).await?;
        counter!("sheaf_cold_gets_total").increment(1);
        counter!("sheaf_cold_bytes_total").increment(bytes.len() as u64);
        Ok(bytes)
    }

    /// The footer of a published file: cached, else one ranged GET whose bounds the catalog knows.
    pub(crate) async fn footer(&self, file: &ArchiveFile) -> Result<Arc<Footer>, ArchiveError> {
        let key: Arc<str> = Arc::from(file.object_key.as_str());
        if let Some(footer) = self.footers.get(&key) {
            counter!("sheaf_cold_footer_hits_total").increment(1);
            // A key names its tenant, but a cache is no place to rely on that.
            if footer.tenant != file.tenant_id {
                return Err(ArchiveError::corrupt(
                    &file.object_key,
                    "belongs to another tenant",
                ));
            }
            return Ok(footer);
        }
        let load = async {
            counter!("sheaf_cold_footer_misses_total").increment(1);
            let figures = u64::try_from(file.tail_offset)
                .ok()
                .zip(u64::try_from(file.bytes).ok());
            let (start, end) = figures.filter(|(start, end)| start < end).ok_or_else(|| {
                ArchiveError::corrupt(&file.object_key, "the catalog has no figures of it")
            })?;
            let tail = self.range(&file.object_key, start..end).await?;
            Footer::parse(file, &tail).map(Arc::new)
        };
        // Boxed: the future of a miss is large, and hits should not carry it.
        self.footers.get_or_insert_async(&key, Box::pin(load)).await
    }

    /// All column chunks of a row group: one ranged GET.
    pub(crate) async fn group(&self, footer: &Footer, group: usize) -> Result<Bytes, ArchiveError> {
        self.range(&footer.object_key, footer.groups[group].bytes.clone())
            .await
    }

    /// Whether the column chunk may hold `value`, by its Bloom filter (cached, else one small GET). True when there
    /// is no filter.
    pub(crate) async fn may_hold(
        &self,
        footer: &Footer,
        group: usize,
        column: &'static str,
        value: &str,
    ) -> Result<bool, ArchiveError> {
        let chunk = footer
            .column(group, column)
            .map(|at| footer.arrow.metadata().row_group(group).column(at));
        let position = chunk.and_then(|c| c.bloom_filter_offset().zip(c.bloom_filter_length()));
        let position =
            position.and_then(|(at, n)| u64::try_from(at).ok().zip(u64::try_from(n).ok()));
        let Some((start, length)) = position else {
            return Ok(true);
        };
        let load = async {
            let bytes = self
                .range(&footer.object_key, start..start.saturating_add(length))
                .await?;
            let filter = Sbbf::from_bytes(&bytes)
                .map_err(|e| ArchiveError::corrupt(&footer.object_key, e))?;
            Ok::<_, ArchiveError>(Arc::new(Bloom {
                filter,
                bytes: length,
            }))
        };
        let key = (Arc::from(footer.object_key.as_str()), group, column);
        let bloom = self
            .blooms
            .get_or_insert_async(&key, Box::pin(load))
            .await?;
        Ok(bloom.filter.check(value))
    }
}
