//! One part of a period into a Parquet file on the local disk.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, KeyValue, ParquetMetaData, SortingColumn};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, ArchivedInvoice, NumberRanges};
use tempfile::{NamedTempFile, TempPath};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::checksum;
use crate::file::checksum::RowGroupChecks;
use crate::file::columns::{Columns, encode};
use crate::file::metadata_columns;
use crate::file::metadata_columns::MetadataKeys;
use crate::file::schema;
use crate::file::schema::meta;
use crate::file::totals::Totals;

/// Rows of a row group, at most.
pub const MAX_GROUP_ROWS: usize = 8_192;
/// Encoded bytes at which a row group ends: a point read is one GET of about this size.
pub const GROUP_BYTES: usize = 1024 * 1024;
/// Rows of a page.
const PAGE_ROWS: usize = 1_024;
/// Rows of a record batch, the grain in which a row group's size is watched. Divides
/// [`MAX_GROUP_ROWS`].
const BATCH_ROWS: usize = 256;
/// Bytes of long texts at which a batch ends early.
const BATCH_TEXT_BYTES: usize = 512 * 1024;
/// Bytes of long texts at which a row group ends, however small they were packed: so many are in
/// memory where it is read.
const GROUP_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// Share of false answers of a Bloom filter.
const BLOOM_FPP: f64 = 0.01;
/// zstd's own default, for what tiering writes.
const ZSTD_LEVEL: i32 = 3;
/// For what is rewritten once, and then kept: 7% smaller than at the default on the real
/// invoices; above it nothing is gained.
const ZSTD_LEVEL_KEPT: i32 = 15;

/// Bounds of one part. An object stays far below the 5 GiB that one PUT may carry.
pub mod bounds {
    /// Invoices of a part.
    pub const INVOICES: usize = 100_000;
    /// Lines of a part.
    pub const LINES: u64 = 2_000_000;
    /// Encoded bytes of a part.
    pub const BYTES: u64 = 256 * 1024 * 1024;
}

/// Hashes and counts what it writes, and remembers the end of it.
struct HashingFile {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    /// What came since the last row group was complete: never more than one of them, or the tail.
    recent: Vec<u8>,
}

impl HashingFile {
    /// Where `recent` begins.
    fn recent_at(&self) -> u64 {
        self.bytes - self.recent.len() as u64
    }
}

impl Write for HashingFile {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(buf)?;
        self.hash.update(&buf[..written]);
        self.recent.extend_from_slice(&buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A part that is complete on the local disk. The file is deleted when this is dropped.
#[derive(Debug)]
pub struct EncodedPart {
    /// Where it is.
    pub path: TempPath,
    /// Size.
    pub bytes: u64,
    /// Of the whole file.
    pub sha256: [u8; 32],
    /// First byte after the last row group: page indexes, if there are any, and the footer follow.
    pub tail_offset: u64,
    /// Of the file from there on.
    pub tail_sha256: [u8; 32],
    /// What it holds.
    pub totals: Totals,
    /// Id and version of each row, in the order of the rows, which is ascending.
    pub ids: Vec<(Uuid, i64)>,
    /// Which numbers it may have.
    pub numbers: NumberRanges,
}

impl EncodedPart {
    /// Enters its figures into the catalog's row.
    pub(crate) fn describe(&self, file: &mut ArchiveFile) {
        let figure = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let id = |end: Option<&(Uuid, i64)>| end.map_or(Uuid::nil(), |(id, _)| *id);
        (file.min_id, file.max_id) = (id(self.ids.first()), id(self.ids.last()));
        file.invoices = figure(self.totals.invoices);
        file.lines = figure(self.totals.lines);
        file.payments = figure(self.totals.payments);
        file.events = figure(self.totals.events);
        file.bytes = figure(self.bytes);
        file.tail_offset = figure(self.tail_offset);
        file.sha256 = Some(self.sha256);
        file.tail_sha256 = Some(self.tail_sha256);
        file.sums = self.totals.sums_json();
        file.numbers = Some(self.numbers.to_json());
        file.schema_version = schema::SCHEMA_VERSION;
    }
}

/// Writes one part, page by page. All of it blocks: run it off the runtime's threads.
pub struct PartWriter {
    writer: ArrowWriter<HashingFile>,
    path: TempPath,
    columns: Columns,
    tenant: TenantId,
    period: Period,
    totals: Totals,
    ids: Vec<(Uuid, i64)>,
    numbers: NumberRanges,
    checks: Vec<RowGroupChecks>,
    /// Bytes of long texts in the row group that is under way.
    group_text: usize,
}

impl PartWriter {
    /// Begins a part in a temporary file, with a column for each declared key of `metadata`.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn new(tenant: TenantId, period: Period, keys: MetadataKeys) -> Result<Self, ArchiveError> {
        let properties = properties(&keys, ZSTD_LEVEL, PageIndex::Written);
        Self::with_properties(tenant, period, keys, properties)
    }

    /// The same for what is written to be kept, of `rows` rows at most: as small as it gets.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn kept(
        tenant: TenantId,
        period: Period,
        keys: MetadataKeys,
        rows: usize,
    ) -> Result<Self, ArchiveError> {
        // With a page a column, an index of pages says what the footer says.
        let index = if rows <= PAGE_ROWS {
            PageIndex::None
        } else {
            PageIndex::Written
        };
        let properties = properties(&keys, ZSTD_LEVEL_KEPT, index);
        Self::with_properties(tenant, period, keys, properties)
    }

    fn with_properties(
        tenant: TenantId,
        period: Period,
        keys: MetadataKeys,
        properties: WriterProperties,
    ) -> Result<Self, ArchiveError> {
        let (file, path) = NamedTempFile::with_prefix("sheaf-part-")?.into_parts();
        let sink = HashingFile {
            file: BufWriter::new(file),
            hash: Sha256::new(),
            bytes: 0,
            recent: Vec::new(),
        };
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let columns = Columns::new(keys);
        let schema = Arc::clone(columns.schema());
        let writer = ArrowWriter::try_new_with_options(sink, schema, options).map_err(encode)?;
        let (totals, ids) = (Totals::default(), Vec::new());
        Ok(Self {
            writer,
            path,
            columns,
            tenant,
            period,
            totals,
            ids,
            numbers: NumberRanges::default(),
            checks: Vec::new(),
            group_text: 0,
        })
    }

    /// Adds rows, whose ids must ascend.
    ///
    /// # Errors
    /// A row is of another tenant or period, out of order, or does not fit the schema; or the disk
    /// is full. The writer is of no use afterwards.
    pub fn push(&mut self, rows: &[ArchivedInvoice]) -> Result<(), ArchiveError> {
        for row in rows {
            self.check(row)?;
            self.columns.push(row)?;
            if !self.totals.add(row) {
                return Err(encode("the sum of totals is out of range"));
            }
            self.ids.push((row.invoice.id, row.invoice.version));
            if let Some(number) = &row.invoice.number {
                self.numbers.add(number);
            }
            if self.columns.rows() >= BATCH_ROWS || self.columns.text_bytes() >= BATCH_TEXT_BYTES {
                self.write_batch()?;
            }
        }
        Ok(())
    }

    fn check(&self, row: &ArchivedInvoice) -> Result<(), ArchiveError> {
        let id = row.invoice.id;
        if row.invoice.tenant_id != self.tenant {
            return Err(encode(format!("invoice {id} is another tenant's")));
        }
        if !self.period.covers(id) {
            return Err(encode(format!("invoice {id} is not of {}", self.period)));
        }
        if self.ids.last().is_some_and(|(last, _)| *last >= id) {
            return Err(encode(format!("invoice {id} is out of order")));
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), ArchiveError> {
        self.group_text += self.columns.text_bytes();
        let batch = self.columns.finish()?;
        self.writer.write(&batch).map_err(encode)?;
        let full = self.writer.in_progress_rows() + BATCH_ROWS > MAX_GROUP_ROWS
            || self.group_text >= GROUP_TEXT_BYTES;
        if full || self.writer.in_progress_size() >= GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// Ends the row group, if one is under way, and takes its checksums.
    fn end_group(&mut self) -> Result<(), ArchiveError> {
        self.group_text = 0;
        self.writer.flush().map_err(encode)?;
        // Out of the writer's own buffer.
        self.writer.sync()?;
        if let Some(row_group) = self.writer.flushed_row_groups().get(self.checks.len()) {
            let sink = self.writer.inner();
            let checks = RowGroupChecks::take(row_group, &sink.recent, sink.recent_at());
            self.checks
                .push(checks.ok_or_else(|| encode("a row group lies elsewhere than it says"))?);
            self.writer.inner_mut().recent.clear();
        }
        if self.writer.flushed_row_groups().len() == self.checks.len() {
            Ok(())
        } else {
            Err(encode("a row group was ended without its checksums"))
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Whether the part is at one of its [`bounds`].
    pub fn is_full(&self) -> bool {
        let bytes = self.writer.inner().bytes + self.writer.in_progress_size() as u64;
        self.ids.len() >= bounds::INVOICES
            || self.totals.lines >= bounds::LINES
            || bytes >= bounds::BYTES
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The part has no rows, or the disk is full.
    pub fn finish(mut self) -> Result<EncodedPart, ArchiveError> {
        let (Some((min_id, _)), Some((max_id, _))) =
            (self.ids.first().copied(), self.ids.last().copied())
        else {
            return Err(encode("a part needs at least one invoice"));
        };
        if self.columns.rows() > 0 {
            self.write_batch()?;
        }
        self.end_group()?;
        let entries = [
            (meta::SCHEMA_VERSION, schema::SCHEMA_VERSION.to_string()),
            (meta::TENANT_ID, self.tenant.to_string()),
            (meta::PERIOD, self.period.to_string()),
            (meta::INVOICES, self.totals.invoices.to_string()),
            (meta::LINES, self.totals.lines.to_string()),
            (meta::PAYMENTS, self.totals.payments.to_string()),
            (meta::EVENTS, self.totals.events.to_string()),
            (meta::SUMS, self.totals.sums_json().to_string()),
            (meta::MIN_ID, min_id.to_string()),
            (meta::MAX_ID, max_id.to_string()),
            (meta::CHECKS, checksum::render(&self.checks)),
        ];
        for (key, value) in entries {
            self.writer
                .append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let metadata = self.writer.finish().map_err(encode)?;
        let sink = self.writer.inner_mut();
        sink.flush()?;
        let tail_offset = page_index_offset(&metadata)
            .or_else(|| footer_offset(&sink.recent, sink.bytes))
            .ok_or_else(|| encode("the file has no footer"))?;
        let tail = tail_offset
            .checked_sub(sink.recent_at())
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| sink.recent.get(at..))
            .ok_or_else(|| encode("the page index lies before a row group"))?;
        let tail_sha256 = Sha256::digest(tail).into();
        let (bytes, sha256) = (sink.bytes, sink.hash.finalize_reset().into());
        Ok(EncodedPart {
            path: self.path,
            bytes,
            sha256,
            tail_offset,
            tail_sha256,
            totals: self.totals,
            ids: self.ids,
            numbers: self.numbers,
        })
    }
}

/// Where the page indexes begin, if there are any. Everything from there on is what a reader needs
/// before it can read rows.
fn page_index_offset(metadata: &ParquetMetaData) -> Option<u64> {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(|row_group| row_group.columns());
    let starts = columns.flat_map(|c| [c.column_index_offset(), c.offset_index_offset()]);
    let starts = starts.flatten().map(|start| u64::try_from(start).ok());
    starts.min().flatten()
}

/// Where the footer of a file of `size` bytes begins, by the length at its `end`.
fn footer_offset(end: &[u8], size: u64) -> Option<u64> {
    let last = end.last_chunk::<FOOTER_SIZE>()?;
    let length = FooterTail::try_new(last).ok()?.metadata_length();
    size.checked_sub((FOOTER_SIZE + length) as u64)
}

/// Whether readers can find pages, and not only column chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageIndex {
    Written,
    None,
}

fn properties(keys: &[String], level: i32, index: PageIndex) -> WriterProperties {
    let level = ZstdLevel::try_new(level).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_created_by("sheaf".to_owned())
        .set_compression(Compression::ZSTD(level))
        // Groups are ended by hand, for their checksums: see `write_batch`.
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(match index {
            PageIndex::Written => EnabledStatistics::Page,
            PageIndex::None => EnabledStatistics::Chunk,
        })
        .set_offset_index_disabled(index == PageIndex::None)
        // An id has 36 bytes and must not be cut: pages and row groups are found by it.
        .set_column_index_truncate_length(Some(64))
        .set_statistics_truncate_length(Some(64))
        // Behind the columns of their row group, which stay one range of bytes. Before the footer,
        // which has their checksums.
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]));
    let declared = keys.iter().map(|key| metadata_columns::column(key));
    for name in schema::BLOOM_COLUMNS
        .map(str::to_owned)
        .into_iter()
        .chain(declared)
    {
        let column = ColumnPath::from(name);
        builder = builder
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(column, MAX_GROUP_ROWS as u64);
    }
    // All values differ, or are a count from 1, which zstd sees as it is: a dictionary is only in
    // the way.
    for path in [
        &["id"][..],
        &["external_id"],
        &["number"],
        &["payments", "list", "element", "id"],
        &["lines", "list", "element", "line_no"],
        &["events"],
    ] {
        let parts = path
            .iter()
            .map(|part| (*part).to_owned())
            .collect::<Vec<_>>();
        builder = builder.set_column_dictionary_enabled(ColumnPath::new(parts), false);
    }
    // Nobody asks for statistics of documents, which are long, nor for those inside of lists, by
    // which no engine leaves rows out.
    let elements = [
        ("lines", schema::line_fields()),
        ("payments", schema::payment_fields()),
    ];
    let elements = elements.iter().flat_map(|(list, fields)| {
        let path = |field: &str| {
            [*list, "list", "element", field]
                .map(str::to_owned)
                .to_vec()
        };
        fields
            .iter()
            .map(move |field| ColumnPath::new(path(field.name())))
    });
    for column in ["events", "metadata"]
        .map(ColumnPath::from)
        .into_iter()
        .chain(elements)
    {
        builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    builder.build()
}
