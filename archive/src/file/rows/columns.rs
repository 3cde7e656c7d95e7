//! Columns of a batch by name and type, value by value.

use arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, NaiveDate, Utc};
use sheaf_model::Decimal;
use uuid::Uuid;

use super::{DecodeError, Result};

/// Something with named columns: a batch, or the struct in a list.
pub(super) trait Named {
    fn column(&self, name: &str) -> Option<&ArrayRef>;
}

impl Named for RecordBatch {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

impl Named for StructArray {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

/// A column of the expected type; none when it is missing.
pub(super) fn column<'a, A: Array + 'static>(
    of: &'a dyn Named,
    name: &'static str,
) -> Result<Option<&'a A>> {
    let Some(array) = of.column(name) else {
        return Ok(None);
    };
    let typed = array.as_any().downcast_ref();
    typed
        .map(Some)
        .ok_or_else(|| DecodeError::new(format!("column {name} is {}", array.data_type())))
}

pub(super) fn required<'a, A: Array + 'static>(
    of: &'a dyn Named,
    name: &'static str,
) -> Result<&'a A> {
    column(of, name)?.ok_or_else(|| DecodeError::new(format!("column {name} is missing")))
}

/// A text column.
pub(crate) struct Text<'a>(&'static str, Option<&'a StringArray>);

impl<'a> Text<'a> {
    pub(super) fn new(of: &'a dyn Named, name: &'static str) -> Result<Self> {
        Ok(Self(name, column(of, name)?))
    }

    /// The column of a batch, which may be missing.
    pub(crate) fn of_batch(batch: &'a RecordBatch, name: &'static str) -> Result<Self> {
        Self::new(batch, name)
    }

    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        self.1
            .filter(|column| !column.is_null(row))
            .map(|column| column.value(row))
    }

    pub(super) fn owned(&self, row: usize) -> Option<String> {
        self.get(row).map(str::to_owned)
    }

    pub(super) fn optional_id(&self, row: usize) -> Result<Option<Uuid>> {
        let id = self.get(row).map(Uuid::parse_str);
        id.transpose().map_err(DecodeError::new)
    }

    pub(super) fn must(&self, row: usize) -> Result<&'a str> {
        self.get(row)
            .ok_or_else(|| DecodeError::new(format!("{} of row {row} is null", self.0)))
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, row: usize) -> Result<T> {
        self.parse(row, self.must(row)?)
    }

    pub(super) fn optional<T: std::str::FromStr>(&self, row: usize) -> Result<Option<T>> {
        let text = self.get(row);
        text.map(|text| self.parse(row, text)).transpose()
    }

    fn parse<T: std::str::FromStr>(&self, row: usize, text: &str) -> Result<T> {
        text.parse()
            .map_err(|_| DecodeError::new(format!("{} of row {row} is {text:?}", self.0)))
    }
}

/// A decimal column, of whatever scale the file says.
pub(super) struct Amounts<'a>(&'a Decimal128Array, u32);

impl<'a> Amounts<'a> {
    pub(super) fn new(of: &'a dyn Named, name: &'static str) -> Result<Self> {
        let array: &Decimal128Array = required(of, name)?;
        let scale = u32::try_from(array.scale()).map_err(DecodeError::new)?;
        Ok(Self(array, scale))
    }

    pub(super) fn get(&self, row: usize) -> Result<Decimal> {
        let value = Decimal::try_from_i128_with_scale(self.0.value(row), self.1)
            .map_err(DecodeError::new)?;
        Ok(value.normalize())
    }
}

/// A decimal column that may be missing, or null.
pub(super) struct OptionalAmounts<'a>(Option<Amounts<'a>>);

impl<'a> OptionalAmounts<'a> {
    pub(super) fn new(of: &'a dyn Named, name: &'static str) -> Result<Self> {
        let amounts = of.column(name).map(|_| Amounts::new(of, name));
        Ok(Self(amounts.transpose()?))
    }

    pub(super) fn get(&self, row: usize) -> Result<Option<Decimal>> {
        let column = self.0.as_ref().filter(|column| !column.0.is_null(row));
        column.map(|column| column.get(row)).transpose()
    }
}

pub(super) fn date(days: i32) -> Result<NaiveDate> {
    NaiveDate::from_epoch_days(days)
        .ok_or_else(|| DecodeError::new(format!("day {days} is out of range")))
}

/// A date column of a batch, which may be missing.
pub(crate) struct Dates<'a>(Option<&'a Date32Array>);

impl<'a> Dates<'a> {
    pub(crate) fn of_batch(batch: &'a RecordBatch, name: &'static str) -> Result<Self> {
        Ok(Self(column(batch, name)?))
    }

    pub(crate) fn get(&self, row: usize) -> Result<Option<NaiveDate>> {
        self.0
            .filter(|column| !column.is_null(row))
            .map(|column| date(column.value(row)))
            .transpose()
    }
}

pub(super) fn moment(column: &TimestampMicrosecondArray, row: usize) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(column.value(row))
        .ok_or_else(|| DecodeError::new("a timestamp is out of range"))
}
