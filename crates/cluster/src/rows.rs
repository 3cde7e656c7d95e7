//! Rows in PostgreSQL's binary formats, encoded straight from the model: as a COPY stream, or as
//! one array a column.
//!
//! Formats: PostgreSQL documentation, COPY, "Binary Format"; arrays as `array_recv` reads them (the
//! server's `src/backend/utils/adt/arrayfuncs.c`); field formats are the types' `*_recv` functions,
//! the same in both. Written by hand because this is the hottest code of the write path, and a
//! generic `ToSql` per field costs a virtual call and a type check each.

pub mod fetch;

use std::error::Error;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// Signature, flags and header extension length.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days from the Unix epoch to PostgreSQL's.
const PG_EPOCH_DAYS: i64 = 10_957;

/// Microseconds, as PostgreSQL keeps them.
#[must_use]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

/// The rows of one table.
pub struct CopyBuffer {
    buf: BytesMut,
    rows: u32,
}

/// One column of the rows, as a parameter of an array type.
#[derive(Debug)]
pub struct Column {
    /// Elements as an array has them, which is how COPY has fields: a length and so many bytes, or
    /// -1.
    elements: BytesMut,
    rows: u32,
    nulls: bool,
}

impl ToSql for Column {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = ty.kind() else {
            return Err(format!("{ty} is no array").into());
        };
        // Dimensions, whether there are nulls, the elements' type; then of the one dimension its
        // length and lower bound.
        out.put_i32(1);
        out.put_i32(i32::from(self.nulls));
        out.put_u32(element.oid());
        out.put_i32(i32::try_from(self.rows)?);
        out.put_i32(1);
        out.put_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

impl CopyBuffer {
    /// No rows yet, and room for so many bytes of them.
    #[must_use]
    #[inline]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = BytesMut::with_capacity(bytes + HEADER.len() + 2);
        buf.put_slice(HEADER);
        Self { buf, rows: 0 }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn rows(&self) -> u64 {
        self.rows.into()
    }

    /// The rows by column.
    pub fn columns(&self) -> Vec<Column> {
        let mut rest = &self.buf[HEADER.len()..];
        let mut columns = Vec::new();
        while rest.remaining() > 2 {
            let fields = usize::try_from(rest.get_i16()).unwrap_or(0);
            if columns.is_empty() {
                let width = self.buf.len() / fields.max(1);
                columns.resize_with(fields, || Column {
                    elements: BytesMut::with_capacity(width),
                    rows: self.rows,
                    nulls: false,
                });
            }
            for column in &mut columns {
                let length = rest.get_i32();
                column.elements.put_i32(length);
                match usize::try_from(length) {
                    Ok(length) => {
                        column.elements.put_slice(&rest[..length]);
                        rest.advance(length);
                    }
                    Err(_) => column.nulls = true,
                }
            }
        }
        columns
    }

    /// Starts a row of `fields` columns; exactly that many `put_*` calls follow.
    #[inline]
    pub fn row(&mut self, fields: i16) -> &mut Self {
        self.rows += 1;
        self.buf.put_i16(fields);
        self
    }

    /// A field without a value.
    #[inline]
    pub fn null(&mut self) -> &mut Self {
        self.buf.put_i32(-1);
        self
    }

    /// A `uuid`.
    #[inline]
    pub fn uuid(&mut self, v: Uuid) -> &mut Self {
        self.buf.put_i32(16);
        self.buf.put_slice(v.as_bytes());
        self
    }

    /// A `uuid`, or none.
    #[inline]
    pub fn opt_uuid(&mut self, v: Option<Uuid>) -> &mut Self {
        match v {
            Some(v) => self.uuid(v),
            None => self.null(),
        }
    }

    /// A `bytea`, or a text as its bytes.
    #[inline]
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        // A field longer than i32::MAX cannot occur: bodies are bounded to a few MiB.
        self.buf.put_i32(i32::try_from(v.len()).unwrap_or(i32::MAX));
        self.buf.put_slice(v);
        self
    }

    /// A `text`.
    #[inline]
    pub fn text(&mut self, v: &str) -> &mut Self {
        self.bytes(v.as_bytes())
    }

    /// A `text`, or none.
    #[inline]
    pub fn opt_text(&mut self, v: Option<&str>) -> &mut Self {
        match v {
            Some(v) => self.text(v),
            None => self.null(),
        }
    }

    /// A `smallint`.
    #[inline]
    pub fn i16(&mut self, v: i16) -> &mut Self {
        self.buf.put_i32(2);
        self.buf.put_i16(v);
        self
    }

    /// An `integer`.
    #[inline]
    pub fn i32(&mut self, v: i32) -> &mut Self {
        self.buf.put_i32(4);
        self.buf.put_i32(v);
        self
    }

    /// A `bigint`.
    #[inline]
    pub fn i64(&mut self, v: i64) -> &mut Self {
        self.buf.put_i32(8);
        self.buf.put_i64(v);
        self
    }

    /// A `bigint`, or none.
    #[inline]
    pub fn opt_i64(&mut self, v: Option<i64>) -> &mut Self {
        match v {
            Some(v) => self.i64(v),
            None => self.null(),
        }
    }

    /// A `date`.
    #[inline]
    pub fn date(&mut self, v: NaiveDate) -> &mut Self {
        let days = v.signed_duration_since(NaiveDate::default()).num_days() - PG_EPOCH_DAYS;
        // Dates are bounded to 1970-2199 by the model; chrono itself cannot exceed i32 days.
        self.i32(i32::try_from(days).unwrap_or(i32::MAX))
    }

    /// A `date`, or none.
    #[inline]
    pub fn opt_date(&mut self, v: Option<NaiveDate>) -> &mut Self {
        match v {
            Some(v) => self.date(v),
            None => self.null(),
        }
    }

    /// A `timestamptz`.
    #[inline]
    pub fn timestamp(&mut self, v: DateTime<Utc>) -> &mut Self {
        self.i64(v.timestamp_micros() - PG_EPOCH_MICROS)
    }

    /// `jsonb`: version byte 1, then the text.
    #[inline]
    pub fn jsonb(&mut self, v: &str) -> &mut Self {
        self.buf
            .put_i32(i32::try_from(v.len() + 1).unwrap_or(i32::MAX));
        self.buf.put_u8(1);
        self.buf.put_slice(v.as_bytes());
        self
    }

    /// A `jsonb`, or none.
    #[inline]
    pub fn opt_jsonb(&mut self, v: Option<&str>) -> &mut Self {
        match v {
            Some(v) => self.jsonb(v),
            None => self.null(),
        }
    }

    /// `numeric`: base-10000 digits around the decimal point, most significant first.
    pub fn decimal(&mut self, v: Decimal) -> &mut Self {
        let scale = v.scale();
        // Align the fraction to whole groups of four digits; 28 digits and 3 zeros fit into 128
        // bits.
        let pad = (4 - scale % 4) % 4;
        let mut rest = v.mantissa().unsigned_abs() * 10_u128.pow(pad);
        let mut groups = [0_u16; 9];
        let mut len = 0_usize;
        while rest > 0 {
            // Most amounts fit into 64 bits, where division is far cheaper.
            let digit = if let Ok(small) = u64::try_from(rest) {
                rest = u128::from(small / 10_000);
                small % 10_000
            } else {
                let digit = rest % 10_000;
                rest /= 10_000;
                u64::try_from(digit).unwrap_or(0)
            };
            groups[len] = u16::try_from(digit).unwrap_or(0);
            len += 1;
        }
        let trailing = groups[..len].iter().take_while(|g| **g == 0).count();
        let fraction_groups = i16::try_from((scale + pad) / 4).unwrap_or(0);
        let digits = i16::try_from(len - trailing).unwrap_or(0);
        let weight = if len == 0 {
            0
        } else {
            i16::try_from(len).unwrap_or(0) - fraction_groups - 1
        };
        self.buf.put_i32(8 + 2 * i32::from(digits));
        self.buf.put_i16(digits);
        self.buf.put_i16(weight);
        self.buf.put_u16(if v.is_sign_negative() && len > 0 {
            0x4000
        } else {
            0
        });
        self.buf.put_u16(u16::try_from(scale).unwrap_or(0));
        for group in groups[trailing..len].iter().rev() {
            self.buf.put_u16(*group);
        }
        self
    }

    /// A `numeric`, or none.
    #[inline]
    pub fn opt_decimal(&mut self, v: Option<Decimal>) -> &mut Self {
        match v {
            Some(v) => self.decimal(v),
            None => self.null(),
        }
    }

    /// The whole COPY stream: header, rows, trailer.
    pub fn stream(&self) -> Bytes {
        let mut stream = self.buf.clone();
        stream.put_i16(-1);
        stream.freeze()
    }
}
