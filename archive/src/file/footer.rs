//! Footers: what a reader must know of an object before it reads rows. One ranged GET each, cached
//! by key.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use sheaf_model::TenantId;
use sheaf_store::ArchiveFile;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::checksum;
use crate::file::checksum::RowGroupChecks;
use crate::file::schema;
use crate::file::schema::meta;

/// One row group, as far as looking for it goes.
#[derive(Debug, Clone)]
pub(crate) struct RowGroup {
    /// Smallest id.
    pub(crate) min_id: Uuid,
    /// Largest id.
    pub(crate) max_id: Uuid,
    /// Rows.
    pub(crate) rows: usize,
    /// Where its column chunks lie in the object; nothing else is between them.
    pub(crate) bytes: Range<u64>,
    /// Lines of all rows.
    pub(crate) lines: u64,
}

/// A footer with its page indexes, if it has any, checked against the catalog.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) object_key: String,
    pub(crate) tenant: TenantId,
    pub(crate) arrow: ArrowReaderMetadata,
    pub(crate) row_groups: Vec<RowGroup>,
    /// Checksums of the row groups; none in files of older binaries.
    checks: Option<Vec<RowGroupChecks>>,
    weight: u64,
}

impl Footer {
    /// Reads the bytes of `file` from its tail offset on.
    ///
    /// # Errors
    /// They are no footer, or another file's.
    pub(crate) fn parse(file: &ArchiveFile, tail: &Bytes) -> Result<Self, ArchiveError> {
        let size = u64::try_from(file.bytes).unwrap_or(0);
        let corrupt = |e: parquet::errors::ParquetError| ArchiveError::corrupt(&file.object_key, e);
        let mut reader =
            ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        reader.try_parse_sized(tail, size).map_err(corrupt)?;
        let metadata = reader.finish().map_err(corrupt)?;
        Self::of_metadata(&file.object_key, file.tenant_id, metadata)
    }

    /// Checks and indexes a footer that was read already.
    ///
    /// # Errors
    /// It is of a newer schema or of another tenant, or lacks statistics of ids.
    pub(crate) fn of_metadata(
        object_key: &str,
        tenant: TenantId,
        metadata: ParquetMetaData,
    ) -> Result<Self, ArchiveError> {
        let weight = metadata.memory_size() as u64;
        let value = |key| entry(&metadata, key);
        let version: Option<i32> = value(meta::SCHEMA_VERSION).and_then(|v| v.parse().ok());
        let Some(version) = version else {
            return Err(ArchiveError::corrupt(object_key, "no schema version"));
        };
        if version > schema::SCHEMA_VERSION {
            let (object_key, known) = (object_key.to_owned(), schema::SCHEMA_VERSION);
            return Err(ArchiveError::SchemaTooNew {
                object_key,
                found: version,
                known,
            });
        }
        if value(meta::TENANT_ID).and_then(|v| v.parse().ok()) != Some(tenant) {
            return Err(ArchiveError::corrupt(
                object_key,
                "written for another tenant",
            ));
        }
        let row_groups: Option<Vec<RowGroup>> =
            metadata.row_groups().iter().map(row_group).collect();
        let row_groups = row_groups.ok_or_else(|| {
            ArchiveError::corrupt(object_key, "a row group without statistics of ids")
        })?;
        let checks = entry(&metadata, meta::CHECKS).map(|text| checksum::parse(text, &metadata));
        if checks.as_ref().is_some_and(Option::is_none) {
            return Err(ArchiveError::corrupt(
                object_key,
                "checksums that do not fit",
            ));
        }
        let arrow = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
            .map_err(|e| ArchiveError::corrupt(object_key, e))?;
        Ok(Self {
            object_key: object_key.to_owned(),
            tenant,
            arrow,
            row_groups,
            checks: checks.flatten(),
            weight,
        })
    }

    /// Whether `bytes`, which begin at offset `base`, are column chunks of a row group as they were
    /// written. True where the file has no checksums.
    pub(crate) fn holds(&self, row_group: usize, bytes: &Bytes, base: u64) -> bool {
        let meta = self.arrow.metadata().row_group(row_group);
        self.checks
            .as_ref()
            .is_none_or(|checks| checks[row_group].holds(meta, bytes, base))
    }

    /// Whether every column chunk and Bloom filter that lies wholly in `bytes`, which begin at
    /// offset `base`, is what was written. True where the file has no checksums.
    pub(crate) fn intact(&self, bytes: &Bytes, base: u64) -> bool {
        let row_groups = self.arrow.metadata().row_groups();
        self.checks.as_ref().is_none_or(|checks| {
            let mut each = row_groups.iter().zip(checks);
            each.all(|(meta, checks)| checks.intact(meta, bytes, base))
        })
    }

    /// `range`, widened to whole column chunks: what has a checksum.
    pub(crate) fn whole_chunks(&self, range: &Range<u64>) -> Range<u64> {
        let row_groups = self.arrow.metadata().row_groups().iter();
        let chunks = row_groups
            .flat_map(|row_group| row_group.columns())
            .map(|chunk| {
                let (start, length) = chunk.byte_range();
                start..start.saturating_add(length)
            });
        chunks
            .filter(|chunk| chunk.start < range.end && range.start < chunk.end)
            .fold(range.clone(), |all, chunk| {
                all.start.min(chunk.start)..all.end.max(chunk.end)
            })
    }

    /// Whether these are the bytes of the Bloom filter of a column. True where the file has no
    /// checksums.
    pub(crate) fn bloom_holds(&self, row_group: usize, column: &str, bytes: &Bytes) -> bool {
        self.checks
            .as_ref()
            .is_none_or(|checks| checks[row_group].bloom_holds(column, bytes))
    }

    /// Bytes of memory, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
            + self.object_key.len() as u64
            + (self.row_groups.len() * size_of::<RowGroup>()) as u64
    }

    /// The row group in which `id` would be. Ids ascend through the file, so there is at most one.
    pub(crate) fn group_of(&self, id: Uuid) -> Option<usize> {
        self.row_groups
            .iter()
            .position(|row_group| row_group.min_id <= id && id <= row_group.max_id)
    }

    /// The rows among which `id` would be in `group`, from the page index, or all without one; none
    /// when no page covers it.
    pub(crate) fn page_of(&self, row_group: usize, id: Uuid) -> Option<Range<usize>> {
        let metadata = self.arrow.metadata();
        let column = self.column(row_group, "id")?;
        let rows = self.row_groups[row_group].rows;
        let columns = metadata
            .column_index()
            .and_then(|index| index.get(row_group));
        let offsets = metadata
            .offset_index()
            .and_then(|index| index.get(row_group));
        let (Some(ColumnIndexMetaData::BYTE_ARRAY(pages)), Some(offsets)) = (
            columns.and_then(|columns| columns.get(column)),
            offsets.and_then(|offsets| offsets.get(column)),
        ) else {
            return Some(0..rows);
        };
        let locations = offsets.page_locations();
        let mut buffer = Uuid::encode_buffer();
        let wanted = id.hyphenated().encode_lower(&mut buffer).as_bytes();
        let covers = |at: &usize| {
            pages.min_value(*at).is_none_or(|min| min <= wanted)
                && pages.max_value(*at).is_none_or(|max| wanted <= max)
        };
        let page = (0..locations.len()).find(covers)?;
        let first = |at: usize| {
            locations
                .get(at)
                .and_then(|l| usize::try_from(l.first_row_index).ok())
        };
        Some(first(page)?..first(page + 1).unwrap_or(rows))
    }

    /// Where the named columns of a row group lie, which are side by side.
    pub(crate) fn column_range(
        &self,
        row_group: usize,
        names: &[&str],
    ) -> Result<Range<u64>, ArchiveError> {
        let meta = self.arrow.metadata().row_group(row_group);
        let chunks = names
            .iter()
            .filter_map(|name| self.column(row_group, name))
            .map(|at| meta.column(at).byte_range());
        let range = chunks.fold(None, |range: Option<(u64, u64)>, (start, length)| {
            let (from, to) = range.unwrap_or((start, start));
            Some((from.min(start), to.max(start.saturating_add(length))))
        });
        range
            .map(|(from, to)| from..to)
            .ok_or_else(|| ArchiveError::corrupt(&self.object_key, "columns are missing"))
    }

    /// Position of a top-level column among the column chunks of a row group.
    pub(crate) fn column(&self, row_group: usize, name: &str) -> Option<usize> {
        column_of(self.arrow.metadata().row_group(row_group), name)
    }
}

fn column_of(row_group: &RowGroupMetaData, name: &str) -> Option<usize> {
    row_group
        .columns()
        .iter()
        .position(|column| matches!(column.column_path().parts(), [only] if only == name))
}

/// An entry of the key-value metadata.
pub(crate) fn entry<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    entries
        .iter()
        .find(|entry| entry.key == key)?
        .value
        .as_deref()
}

fn row_group(meta: &RowGroupMetaData) -> Option<RowGroup> {
    let statistics = meta.column(column_of(meta, "id")?).statistics()?;
    let id = |bytes: Option<&[u8]>| Uuid::try_parse_ascii(bytes?).ok();
    let ranges = || meta.columns().iter().map(|column| column.byte_range());
    let start = ranges().map(|(start, _)| start).min()?;
    let end = ranges()
        .map(|(start, length)| start.saturating_add(length))
        .max()?;
    let lines = meta.columns().iter().find(|c| {
        c.column_path()
            .parts()
            .first()
            .is_some_and(|p| p == "lines")
    })?;
    Some(RowGroup {
        min_id: id(statistics.min_bytes_opt())?,
        max_id: id(statistics.max_bytes_opt())?,
        rows: usize::try_from(meta.num_rows()).ok()?,
        bytes: start..end,
        lines: u64::try_from(lines.num_values()).ok()?,
    })
}
