//! Checksums of the parts of an object that readers fetch by themselves: a CRC-32 of every column
//! chunk and Bloom filter, in the footer's key-value metadata. The footer's own hash is in the
//! catalog, so that nothing read in part is taken on trust. (Parquet has checksums of pages, which
//! the crate reads but does not write.)

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use crate::file::schema::BLOOM_COLUMNS;

/// Checksums of one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowGroupChecks {
    /// Of each column chunk, in the order of the columns.
    chunks: Vec<u32>,
    /// Of the Bloom filters of [`BLOOM_COLUMNS`]; 0 where there is none.
    blooms: [u32; BLOOM_COLUMNS.len()],
}

fn slice(bytes: &[u8], base: u64, start: u64, length: u64) -> Option<&[u8]> {
    let from = usize::try_from(start.checked_sub(base)?).ok()?;
    let length = usize::try_from(length).ok()?;
    bytes.get(from..from.checked_add(length)?)
}

/// Where a chunk's Bloom filter lies: start and length.
pub(crate) fn bloom_range(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let (start, length) = chunk
        .bloom_filter_offset()
        .zip(chunk.bloom_filter_length())?;
    u64::try_from(start).ok().zip(u64::try_from(length).ok())
}

impl RowGroupChecks {
    /// Takes the checksums of a row group from the bytes that were written, which begin at offset
    /// `base`.
    pub(crate) fn take(meta: &RowGroupMetaData, bytes: &[u8], base: u64) -> Option<Self> {
        let crc = |(start, length)| slice(bytes, base, start, length).map(crc32fast::hash);
        let chunks = meta.columns().iter().map(|chunk| crc(chunk.byte_range()));
        let mut blooms = [0; BLOOM_COLUMNS.len()];
        for (check, name) in blooms.iter_mut().zip(BLOOM_COLUMNS) {
            let named = |chunk: &&ColumnChunkMetaData| {
                matches!(chunk.column_path().parts(),
                [only] if only == name)
            };
            if let Some(range) = meta.columns().iter().find(named).and_then(bloom_range) {
                *check = crc(range)?;
            }
        }
        Some(Self {
            chunks: chunks.collect::<Option<_>>()?,
            blooms,
        })
    }

    /// Bytes of the column chunks that lie wholly in `bytes`, which begin at offset `base`; none
    /// when one of them is not what was written.
    fn covered(&self, meta: &RowGroupMetaData, bytes: &[u8], base: u64) -> Option<usize> {
        let mut covered = 0;
        for (chunk, check) in meta.columns().iter().zip(&self.chunks) {
            let (start, length) = chunk.byte_range();
            let Some(chunk) = slice(bytes, base, start, length) else {
                continue;
            };
            if crc32fast::hash(chunk) != *check {
                return None;
            }
            covered += chunk.len();
        }
        Some(covered)
    }

    /// Whether every column chunk that lies wholly in `bytes`, which begin at offset `base`, is
    /// what was written, and nothing else is in them.
    pub(crate) fn holds(&self, meta: &RowGroupMetaData, bytes: &[u8], base: u64) -> bool {
        self.covered(meta, bytes, base) == Some(bytes.len())
    }

    /// Whether every column chunk and Bloom filter that lies wholly in `bytes` is what was written.
    pub(crate) fn intact(&self, meta: &RowGroupMetaData, bytes: &[u8], base: u64) -> bool {
        let blooms = BLOOM_COLUMNS.iter().all(|name| {
            let named = |chunk: &&ColumnChunkMetaData| {
                matches!(chunk.column_path().parts(),
                [only] if only == name)
            };
            let range = meta.columns().iter().find(named).and_then(bloom_range);
            range
                .and_then(|(start, length)| slice(bytes, base, start, length))
                .is_none_or(|bytes| self.bloom_holds(name, bytes))
        });
        blooms && self.covered(meta, bytes, base).is_some()
    }

    /// Whether these are the bytes of the Bloom filter of a column.
    pub(crate) fn bloom_holds(&self, column: &str, bytes: &[u8]) -> bool {
        BLOOM_COLUMNS
            .iter()
            .zip(self.blooms)
            .any(|(name, check)| *name == column && crc32fast::hash(bytes) == check)
    }
}

/// The entry of the key-value metadata: little-endian CRCs, group after group, in base64.
pub(crate) fn render(row_groups: &[RowGroupChecks]) -> String {
    let crcs = row_groups
        .iter()
        .flat_map(|row_group| row_group.chunks.iter().chain(&row_group.blooms));
    STANDARD.encode(crcs.flat_map(|crc| crc.to_le_bytes()).collect::<Vec<u8>>())
}

/// Reads [`render`]'s text by the row groups of the same file; `None` when it does not fit them.
pub(crate) fn parse(text: &str, metadata: &ParquetMetaData) -> Option<Vec<RowGroupChecks>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (words, rest) = bytes.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut row_groups = Vec::with_capacity(metadata.num_row_groups());
    for row_group in metadata.row_groups() {
        let chunks: Vec<u32> = words.by_ref().take(row_group.num_columns()).collect();
        let mut blooms = [0; BLOOM_COLUMNS.len()];
        for bloom in &mut blooms {
            *bloom = words.next()?;
        }
        row_groups.push(RowGroupChecks { chunks, blooms });
    }
    (rest.is_empty() && words.next().is_none()).then_some(row_groups)
}
