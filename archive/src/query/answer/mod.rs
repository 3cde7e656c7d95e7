//! Answers as JSON, CSV and Arrow, a batch at a time.

pub(crate) mod csv;
pub(crate) mod stats;

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use arrow::array::cast::AsArray as _;
use arrow::array::{Array, ArrayRef, PrimitiveArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef,
};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use serde_json::json;

use super::options::Tiers;

use super::error::QueryError;
use super::run::QueryRun;

/// Bytes of an answer that are held back: a failure up to there is the answer, later ones break it
/// off.
const HELD_BACK: usize = 256 * 1024;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One document: `columns`, `rows` (arrays in the order of the columns), then `stats`. Decimals
    /// are strings. After a late failure the document ends with `error` instead.
    #[default]
    Json,
    /// RFC 4180 with a header line; what is nested is JSON, what is null is an empty field, and an
    /// empty text is `""`.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// An answer in the making. Dropping it ends the query.
pub struct Answer {
    run: QueryRun,
    writer: Writer,
    ready: VecDeque<Bytes>,
    done: bool,
}

impl Answer {
    /// Waits for the beginning of the answer.
    ///
    /// # Errors
    /// The query failed before its first 256 KiB.
    pub async fn begin(run: QueryRun, format: Format) -> Result<Self, QueryError> {
        let mut writer = Writer::new(format, run.schema())?;
        let first = writer.header(&run)?;
        let mut answer = Self {
            run,
            writer,
            ready: VecDeque::from([first]),
            done: false,
        };
        let mut held = 0;
        while held < HELD_BACK && !answer.done {
            let chunk = answer.advance().await?;
            held += chunk.len();
            answer.ready.push_back(chunk);
        }
        Ok(answer)
    }

    /// The run whose answer it is.
    pub fn run(&self) -> &QueryRun {
        &self.run
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The query failed on the way, and the format cannot say so: the answer must be broken off.
    pub async fn next(&mut self) -> Option<Result<Bytes, QueryError>> {
        if let Some(chunk) = self.ready.pop_front() {
            return Some(Ok(chunk));
        }
        if self.done {
            return None;
        }
        match self.advance().await {
            Ok(chunk) => Some(Ok(chunk)),
            Err(error) => {
                self.done = true;
                Some(self.writer.failed(error))
            }
        }
    }

    /// The next batch, or the end of the answer.
    async fn advance(&mut self) -> Result<Bytes, QueryError> {
        match self.run.next().await {
            Some(batch) => self.writer.batch(&batch?),
            None => {
                self.done = true;
                self.writer.end(&self.run)
            }
        }
    }
}

/// The state of one format.
enum Writer {
    Json { rows: bool },
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

fn internal(error: impl std::fmt::Display) -> QueryError {
    QueryError::Internal(error.to_string())
}

/// A value that the format has no text for, such as a moment beyond the calendar.
fn unwritable(error: ArrowError) -> QueryError {
    QueryError::Failed(error.to_string())
}

impl Writer {
    fn new(format: Format, schema: &SchemaRef) -> Result<Self, QueryError> {
        Ok(match format {
            Format::Json => Self::Json { rows: false },
            Format::Csv => Self::Csv,
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), schema).map_err(internal)?;
                Self::Arrow(Box::new(writer))
            }
        })
    }

    fn header(&mut self, run: &QueryRun) -> Result<Bytes, QueryError> {
        match self {
            Self::Json { .. } => {
                let columns: Vec<_> = run
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| {
                        json!({"name": field.name(),
                        "type": field.data_type().to_string()})
                    })
                    .collect();
                let columns = serde_json::to_string(&columns).map_err(internal)?;
                Ok(format!("{{\"columns\":{columns},\"rows\":[").into())
            }
            Self::Csv => Ok(csv::header(run.schema()).into()),
            Self::Arrow(writer) => Ok(std::mem::take(writer.get_mut()).into()),
        }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        match self {
            Self::Json { rows } => {
                let mut out = Vec::new();
                json_rows(batch, rows, &mut out).map_err(unwritable)?;
                Ok(out.into())
            }
            Self::Csv => {
                let lines = flat(batch).and_then(|batch| csv::lines(&batch));
                Ok(lines.map_err(unwritable)?.into())
            }
            Self::Arrow(writer) => {
                writer.write(batch).map_err(internal)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    fn end(&mut self, run: &QueryRun) -> Result<Bytes, QueryError> {
        match self {
            Self::Json { .. } => {
                let tier = match run.tiers() {
                    Tiers::Cold => "cold",
                    Tiers::All => "all",
                };
                let (as_of, stats) = (json!(run.as_of()), json!(run.stats()));
                let end = format!("],\"tier\":\"{tier}\",\"as_of\":{as_of},\"stats\":{stats}}}");
                Ok(end.into())
            }
            Self::Csv => Ok(Bytes::new()),
            Self::Arrow(writer) => {
                writer.finish().map_err(internal)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    /// What a failure on the way looks like.
    fn failed(&self, error: QueryError) -> Result<Bytes, QueryError> {
        match self {
            Self::Json { .. } => {
                let problem = json!({"code": error.code(), "detail": error.public_detail()});
                Ok(format!("],\"error\":{problem}}}").into())
            }
            _ => Err(error),
        }
    }
}

/// Decimals are strings, as everywhere in the contract, and so are moments and the floats that are
/// no JSON numbers. These are written before they are encoded: an encoder cannot fail, and puts the
/// words of its error where a moment ought to be that no calendar has.
#[derive(Debug)]
struct Strings;

struct Decimals<'a>(ArrayFormatter<'a>);

impl Encoder for Decimals<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        // Digits, a sign and a point: nothing that needs an escape.
        out.extend_from_slice(self.0.value(at).to_string().as_bytes());
        out.push(b'"');
    }
}

/// Numbers as the engine writes them, and texts for what JSON has no number for: as PostgreSQL
/// does, so that none of these looks like a value that is missing.
struct Floats<'a, T: ArrowPrimitiveType> {
    numbers: NullableEncoder<'a>,
    values: &'a PrimitiveArray<T>,
}

impl<T: ArrowPrimitiveType> Encoder for Floats<'_, T>
where
    T::Native: Into<f64>,
{
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        let value: f64 = self.values.value(at).into();
        match value {
            f64::INFINITY => out.extend_from_slice(b"\"Infinity\""),
            f64::NEG_INFINITY => out.extend_from_slice(b"\"-Infinity\""),
            value if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            _ => self.numbers.encode(at, out),
        }
    }
}

fn floats<'a, T: ArrowPrimitiveType>(
    field: &'a FieldRef,
    array: &'a dyn Array,
) -> Result<Box<dyn Encoder + 'a>, ArrowError>
where
    T::Native: Into<f64>,
{
    static ENGINES: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
    Ok(Box::new(Floats::<T> {
        numbers: make_encoder(field, array, &ENGINES)?,
        values: array.as_primitive(),
    }))
}

/// Texts, and where each of them ends.
struct Moments(String, Vec<usize>);

impl Moments {
    fn of(array: &dyn Array, nulls: Option<&NullBuffer>) -> Result<Self, ArrowError> {
        let formatter = ArrayFormatter::try_new(array, &PLAIN)?;
        let (mut texts, mut ends) = (String::new(), Vec::with_capacity(array.len()));
        for at in 0..array.len() {
            if nulls.is_none_or(|nulls| nulls.is_valid(at)) {
                texts.push_str(&formatter.value(at).try_to_string()?);
            }
            ends.push(texts.len());
        }
        Ok(Self(texts, ends))
    }
}

impl Encoder for Moments {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        let from = at.checked_sub(1).map_or(0, |before| self.1[before]);
        out.push(b'"');
        out.extend_from_slice(&self.0.as_bytes()[from..self.1[at]]);
        out.push(b'"');
    }
}

const PLAIN: FormatOptions<'static> = FormatOptions::new();

impl EncoderFactory for Strings {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let nulls = array.nulls().cloned();
        let encoder: Box<dyn Encoder> = match array.data_type() {
            DataType::Float32 => floats::<Float32Type>(field, array)?,
            DataType::Float64 => floats::<Float64Type>(field, array)?,
            of if of.is_decimal() => Box::new(Decimals(ArrayFormatter::try_new(array, &PLAIN)?)),
            of if of.is_temporal() => Box::new(Moments::of(array, nulls.as_ref())?),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, nulls)))
    }
}

fn options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(Strings))
}

/// Appends the rows as arrays; `begun` says whether a row is there already.
fn json_rows(batch: &RecordBatch, begun: &mut bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let options = options();
    let schema = batch.schema();
    let mut columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| make_encoder(field, column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(if *begun { b",\n[" } else { b"\n[" });
        *begun = true;
        for (at, column) in columns.iter_mut().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if column.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                column.encode(row, out);
            }
        }
        out.push(b']');
    }
    Ok(())
}

/// What is nested, as JSON text: CSV has no other way to say it.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|f| f.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let options = options();
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let mut encoder = make_encoder(field, column.as_ref(), &options)?;
        let texts = (0..column.len()).map(|row| {
            let mut text = Vec::new();
            (!encoder.is_null(row)).then(|| {
                encoder.encode(row, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let texts: StringArray = texts.collect();
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(texts));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
