//! The rows of a row group, decoded from its bytes. Everything here computes; callers run it off
//! the runtime's threads.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::{Buf, Bytes};
use chrono::NaiveDate;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use sheaf_model::{Customer, Invoice};
use sheaf_store::{EventRow, ListFilter};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::footer::Footer;
use crate::file::rows::{Customers, Dates, DecodeError, Rows, Text};
use crate::file::schema::{CUSTOMER_COLUMNS, KEY_COLUMNS, NUMBER_COLUMNS};

/// A part of an object, read as if it were the whole.
#[derive(Clone)]
struct Slice {
    bytes: Bytes,
    base: u64,
}

impl Slice {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start
            .checked_sub(self.base)
            .and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!(
                "offset {start} is outside of what was fetched"
            ))),
        }
    }
}

impl Length for Slice {
    fn len(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }
}

impl ChunkReader for Slice {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are outside of what was fetched"
            )));
        }
        Ok(bytes.slice(..length))
    }
}

/// The bytes of one row group, or of some of its columns, with the footer to read them by.
#[derive(Clone)]
pub(crate) struct RowGroupData {
    pub(crate) footer: Arc<Footer>,
    pub(crate) row_group: usize,
    slice: Slice,
}

impl RowGroupData {
    /// `bytes` begin at offset `base` of the object.
    pub(crate) fn new(footer: Arc<Footer>, row_group: usize, bytes: Bytes, base: u64) -> Self {
        Self {
            footer,
            row_group,
            slice: Slice { bytes, base },
        }
    }

    fn corrupt(&self, error: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::corrupt(&self.footer.object_key, error)
    }

    /// Reads the selected rows of the named columns (all when there are none), batch by batch.
    fn read(
        &self,
        columns: &[&str],
        rows: impl Iterator<Item = Range<usize>>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), DecodeError>,
    ) -> Result<(), ArchiveError> {
        let total = self.footer.row_groups[self.row_group].rows;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.slice.clone(),
            self.footer.arrow.clone(),
        );
        let mask = match columns {
            [] => ProjectionMask::all(),
            some => ProjectionMask::columns(builder.parquet_schema(), some.iter().copied()),
        };
        let reader = builder
            .with_projection(mask)
            .with_row_groups(vec![self.row_group])
            .with_row_selection(RowSelection::from_consecutive_ranges(rows, total))
            .build()
            .map_err(|e| self.corrupt(e))?;
        for batch in reader {
            each(&batch.map_err(|e| self.corrupt(e))?).map_err(|e| self.corrupt(e))?;
        }
        Ok(())
    }

    /// The row with `id`, turned into what the caller wants.
    pub(crate) fn find<T>(
        &self,
        id: Uuid,
        take: fn(&Rows<'_>, usize) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, ArchiveError> {
        let Some(page) = self.footer.page_of(self.row_group, id) else {
            return Ok(None);
        };
        let mut ids = Vec::with_capacity(page.len());
        self.read(&["id"], std::iter::once(page.clone()), |batch| {
            let text = Text::of_batch(batch, "id")?;
            (0..batch.num_rows()).try_for_each(|row| text.parsed(row).map(|id: Uuid| ids.push(id)))
        })?;
        let Ok(at) = ids.binary_search(&id) else {
            return Ok(None);
        };
        Ok(self.rows(&[page.start + at], take)?.pop())
    }

    /// Numbers of the rows that have one of `ids`, which ascend. Only the column of ids is looked
    /// at.
    pub(crate) fn positions(&self, ids: &[Uuid]) -> Result<Vec<usize>, ArchiveError> {
        let (mut found, mut row) = (Vec::new(), 0);
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&["id"], all, |batch| {
            let text = Text::of_batch(batch, "id")?;
            for at in 0..batch.num_rows() {
                if ids.binary_search(&text.parsed(at)?).is_ok() {
                    found.push(row + at);
                }
            }
            row += batch.num_rows();
            Ok(())
        })?;
        Ok(found)
    }

    /// The rows at `numbers`, which ascend.
    pub(crate) fn rows<T>(
        &self,
        numbers: &[usize],
        take: fn(&Rows<'_>, usize) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, ArchiveError> {
        let mut out = Vec::with_capacity(numbers.len());
        // Neighbours become one range: a selection of single rows is slow to follow.
        let ranges = numbers
            .chunk_by(|a, b| a + 1 == *b)
            .map(|run| run[0]..run[0] + run.len());
        self.read(&[], ranges, |batch| {
            let rows = Rows::new(batch, self.footer.tenant)?;
            (0..rows.len()).try_for_each(|row| take(&rows, row).map(|value| out.push(value)))
        })?;
        if out.len() != numbers.len() {
            return Err(self.corrupt(format!("{} rows instead of {}", out.len(), numbers.len())));
        }
        Ok(out)
    }

    /// Numbers of the rows below `before` whose header columns satisfy the filter, ascending.
    /// Metadata is not looked at: only a whole invoice can answer for it.
    pub(crate) fn candidates(
        &self,
        before: Option<Uuid>,
        filter: &ListFilter,
    ) -> Result<Vec<usize>, ArchiveError> {
        let mut out = Vec::new();
        let mut first = 0;
        let columns = header_columns(filter);
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&columns, all, |batch| {
            let test = HeaderTest::new(batch, before, filter)?;
            for row in 0..batch.num_rows() {
                if test.holds(row)? {
                    out.push(first + row);
                }
            }
            first += batch.num_rows();
            Ok(())
        })?;
        Ok(out)
    }

    /// The invoices of all rows, `rows` at a time, without their histories.
    pub(crate) fn batches(&self, rows: usize) -> Result<Batches, ArchiveError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.slice.clone(),
            self.footer.arrow.clone(),
        );
        let schema = builder.parquet_schema();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let wanted = roots.filter(|(_, field)| field.name() != "events");
        let mask = ProjectionMask::roots(schema, wanted.map(|(at, _)| at));
        let reader = builder
            .with_projection(mask)
            .with_row_groups(vec![self.row_group])
            .with_batch_size(rows)
            .build()
            .map_err(|e| self.corrupt(e))?;
        let footer = Arc::clone(&self.footer);
        Ok(Batches { footer, reader })
    }

    /// The customers of all rows.
    pub(crate) fn customers(
        &self,
        mut each: impl FnMut(Option<Uuid>, Option<Customer>),
    ) -> Result<(), ArchiveError> {
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&CUSTOMER_COLUMNS, all, |batch| {
            let customers = Customers::of_batch(batch)?;
            for row in 0..batch.num_rows() {
                each(customers.id(row)?, customers.get(row));
            }
            Ok(())
        })
    }

    /// The histories of the rows whose text `is_wanted`.
    pub(crate) fn histories(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(Vec<EventRow>),
    ) -> Result<(), ArchiveError> {
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&["events"], all, |batch| {
            let texts = Text::of_batch(batch, "events")?;
            let found = (0..batch.num_rows()).filter_map(|row| texts.get(row));
            for text in found.filter(|text| is_wanted(text)) {
                each(crate::file::rows::events(text)?);
            }
            Ok(())
        })
    }

    /// The number and the day of issue of all rows.
    pub(crate) fn numbers(
        &self,
        mut each: impl FnMut(Uuid, Option<&str>, Option<NaiveDate>),
    ) -> Result<(), ArchiveError> {
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&NUMBER_COLUMNS, all, |batch| {
            let id = Text::of_batch(batch, "id")?;
            let number = Text::of_batch(batch, "number")?;
            let issue_date = Dates::of_batch(batch, "issue_date")?;
            (0..batch.num_rows()).try_for_each(|row| {
                each(id.parsed(row)?, number.get(row), issue_date.get(row)?);
                Ok(())
            })
        })
    }

    /// The key columns of all rows.
    pub(crate) fn keys(
        &self,
        mut each: impl FnMut(Uuid, Option<&str>, Option<&str>),
    ) -> Result<(), ArchiveError> {
        let all = std::iter::once(0..self.footer.row_groups[self.row_group].rows);
        self.read(&KEY_COLUMNS, all, |batch| {
            let id = Text::of_batch(batch, "id")?;
            let external_id = Text::of_batch(batch, "external_id")?;
            let number = Text::of_batch(batch, "number")?;
            (0..batch.num_rows()).try_for_each(|row| {
                each(id.parsed(row)?, external_id.get(row), number.get(row));
                Ok(())
            })
        })
    }
}

/// The rows of one row group, in batches.
pub(crate) struct Batches {
    footer: Arc<Footer>,
    reader: ParquetRecordBatchReader,
}

impl Batches {
    /// The next invoices, by id; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Invoice>>, ArchiveError> {
        let corrupt = |error: String| ArchiveError::corrupt(&self.footer.object_key, error);
        let Some(batch) = self.reader.next() else {
            return Ok(None);
        };
        let batch = batch.map_err(|e| corrupt(e.to_string()))?;
        let rows = Rows::new(&batch, self.footer.tenant).map_err(|e| corrupt(e.to_string()))?;
        let invoices = (0..rows.len()).map(|row| rows.invoice(row));
        let invoices = invoices.collect::<Result<_, _>>();
        invoices.map(Some).map_err(|e| corrupt(e.to_string()))
    }
}

fn header_columns(filter: &ListFilter) -> Vec<&'static str> {
    let wanted = [
        (true, "id"),
        (filter.external_id.is_some(), "external_id"),
        (filter.number.is_some(), "number"),
        (filter.kind.is_some(), "kind"),
        (filter.status.is_some(), "status"),
        (filter.customer_id.is_some(), "customer_id"),
        (
            filter.issued_from.is_some() || filter.issued_to.is_some(),
            "issue_date",
        ),
    ];
    wanted
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| name)
        .collect()
}

/// The customers that the filter asks for, as the column has them; none where it does not ask.
pub(crate) fn customers(filter: &ListFilter) -> Vec<String> {
    let asked = filter.customer_id.iter();
    asked
        .flat_map(|id| std::iter::once(id).chain(&filter.merged))
        .map(Uuid::to_string)
        .collect()
}

/// The header part of [`ListFilter::matches`], on columns.
struct HeaderTest<'a> {
    before: Option<Uuid>,
    id: Text<'a>,
    /// Columns, and the values of which they must have one.
    texts: Vec<(Text<'a>, Vec<String>)>,
    issue_date: Dates<'a>,
    filter: &'a ListFilter,
}

impl<'a> HeaderTest<'a> {
    fn new(
        batch: &'a RecordBatch,
        before: Option<Uuid>,
        filter: &'a ListFilter,
    ) -> Result<Self, DecodeError> {
        let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let wanted = [
            ("external_id", one(filter.external_id.clone())),
            ("number", one(filter.number.clone())),
            (
                "kind",
                one(filter.kind.map(|kind| kind.as_str().to_owned())),
            ),
            (
                "status",
                one(filter.status.map(|status| status.as_str().to_owned())),
            ),
            ("customer_id", customers(filter)),
        ];
        let wanted = wanted.into_iter().filter(|(_, values)| !values.is_empty());
        let texts =
            wanted.map(|(name, values)| Text::of_batch(batch, name).map(|column| (column, values)));
        Ok(Self {
            before,
            id: Text::of_batch(batch, "id")?,
            texts: texts.collect::<Result<_, _>>()?,
            issue_date: Dates::of_batch(batch, "issue_date")?,
            filter,
        })
    }

    fn holds(&self, row: usize) -> Result<bool, DecodeError> {
        let holds = |(column, values): &(Text<'_>, Vec<String>)| {
            let found = column.get(row);
            found.is_some_and(|found| values.iter().any(|value| value == found))
        };
        if !self.texts.iter().all(holds) {
            return Ok(false);
        }
        let (from, to) = (self.filter.issued_from, self.filter.issued_to);
        if from.is_some() || to.is_some() {
            let Some(date) = self.issue_date.get(row)? else {
                return Ok(false);
            };
            if from.is_some_and(|from| date < from) || to.is_some_and(|to| date > to) {
                return Ok(false);
            }
        }
        match self.before {
            Some(before) => Ok(self.id.parsed::<Uuid>(row)? < before),
            None => Ok(true),
        }
    }
}
