//! Objects as readers see them: footers and Bloom filters through bounded caches, row groups as
//! they are asked for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use sha2::{Digest, Sha256};
use sheaf_store::ArchiveFile;

use crate::ArchiveError;
use crate::file::checksum::bloom_range;
use crate::file::footer::Footer;
use crate::object::purpose::{count, count_read};
use crate::object::storage::ColdStorage;

/// Memory for footers by default, in bytes.
pub const FOOTER_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Memory for Bloom filters, in bytes.
const BLOOM_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads of a range that come out wrong, before it counts as damaged.
const CHECKED_ATTEMPTS: usize = 3;

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

/// A cache that holds at most `bytes`. Objects are never rewritten under a key, so nothing in it
/// grows stale.
pub(crate) type ByteCache<K, V> = Cache<K, Arc<V>, BySize>;

/// Makes a cache of `bytes`, expecting values of about `typical` bytes. One shard: a value may then
/// be as large as most of the cache, and is still kept.
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
    async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let bytes = self.storage.get_range(key, range).await?;
        count_read(bytes.len() as u64);
        Ok(bytes)
    }

    /// Reads a range until it is what was written: a storage or a proxy that lied once may not do
    /// so again.
    async fn checked(
        &self,
        key: &str,
        range: Range<u64>,
        is_right: impl Fn(&Bytes) -> bool,
    ) -> Result<Bytes, ArchiveError> {
        for _ in 0..CHECKED_ATTEMPTS {
            let bytes = self.range(key, range.clone()).await?;
            if is_right(&bytes) {
                return Ok(bytes);
            }
            count("sheaf_cold_damaged_total");
        }
        let detail = format!(
            "bytes {}..{} differ from their checksum, read {CHECKED_ATTEMPTS} times",
            range.start, range.end
        );
        Err(ArchiveError::corrupt(key, detail))
    }

    /// Column chunks of a row group that lie side by side at `range`: one ranged GET.
    pub(crate) async fn chunks(
        &self,
        footer: &Footer,
        row_group: usize,
        range: Range<u64>,
    ) -> Result<Bytes, ArchiveError> {
        let base = range.start;
        self.checked(&footer.object_key, range, |bytes| {
            footer.holds(row_group, bytes, base)
        })
        .await
    }

    /// A range of whatever parts of an object, one GET: the column chunks and Bloom filters in it
    /// are what was written.
    pub(crate) async fn parts(
        &self,
        footer: &Footer,
        range: Range<u64>,
    ) -> Result<Bytes, ArchiveError> {
        let base = range.start;
        self.checked(&footer.object_key, range, |bytes| {
            footer.intact(bytes, base)
        })
        .await
    }

    /// The footer of a published file: cached, else one ranged GET whose bounds the catalog knows.
    pub(crate) async fn footer(&self, file: &ArchiveFile) -> Result<Arc<Footer>, ArchiveError> {
        self.footer_counted(file, |_| ()).await
    }

    /// The same; `read` is told the bytes when they had to be read.
    pub(crate) async fn footer_counted(
        &self,
        file: &ArchiveFile,
        read: impl FnOnce(u64) + Send,
    ) -> Result<Arc<Footer>, ArchiveError> {
        let key: Arc<str> = Arc::from(file.object_key.as_str());
        if let Some(footer) = self.footers.get(&key) {
            count("sheaf_cold_footer_hits_total");
            // A key names its tenant, but a cache must not rely on that.
            if footer.tenant != file.tenant_id {
                return Err(ArchiveError::corrupt(
                    &file.object_key,
                    "belongs to another tenant",
                ));
            }
            return Ok(footer);
        }
        let load = async {
            count("sheaf_cold_footer_misses_total");
            let figures = u64::try_from(file.tail_offset)
                .ok()
                .zip(u64::try_from(file.bytes).ok());
            let (start, end) = figures.filter(|(start, end)| start < end).ok_or_else(|| {
                ArchiveError::corrupt(&file.object_key, "the catalog has no figures of it")
            })?;
            let is_right = |tail: &Bytes| {
                file.tail_sha256
                    .is_none_or(|hash| <[u8; 32]>::from(Sha256::digest(tail)) == hash)
            };
            let tail = self.checked(&file.object_key, start..end, is_right).await?;
            read(tail.len() as u64);
            Footer::parse(file, &tail).map(Arc::new)
        };
        // Boxed: the future of a miss is large, and hits should not carry it.
        self.footers.get_or_insert_async(&key, Box::pin(load)).await
    }

    /// All column chunks of a row group: one ranged GET.
    pub(crate) async fn row_group(
        &self,
        footer: &Footer,
        row_group: usize,
    ) -> Result<Bytes, ArchiveError> {
        let range = footer.row_groups[row_group].bytes.clone();
        self.chunks(footer, row_group, range).await
    }

    /// Whether the column chunk may hold `value`, by its Bloom filter (cached, else one small GET).
    /// True when there is no filter.
    pub(crate) async fn may_hold(
        &self,
        footer: &Footer,
        row_group: usize,
        column: &'static str,
        value: &str,
    ) -> Result<bool, ArchiveError> {
        let chunk = footer
            .column(row_group, column)
            .map(|at| footer.arrow.metadata().row_group(row_group).column(at));
        let Some((start, length)) = chunk.and_then(bloom_range) else {
            return Ok(true);
        };
        let load = async {
            let is_right = |bytes: &Bytes| footer.bloom_holds(row_group, column, bytes);
            let range = start..start.saturating_add(length);
            let bytes = self.checked(&footer.object_key, range, is_right).await?;
            let filter = Sbbf::from_bytes(&bytes)
                .map_err(|e| ArchiveError::corrupt(&footer.object_key, e))?;
            Ok::<_, ArchiveError>(Arc::new(Bloom {
                filter,
                bytes: length,
            }))
        };
        let key = (Arc::from(footer.object_key.as_str()), row_group, column);
        let bloom = self
            .blooms
            .get_or_insert_async(&key, Box::pin(load))
            .await?;
        Ok(bloom.filter.check(value))
    }
}
