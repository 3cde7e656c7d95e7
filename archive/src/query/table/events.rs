//! The JSON text of an invoice's events as a list of structs, so that it is unnested as lines and
//! payments are.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListArray, StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields};
use chrono::{DateTime, Utc};
use datafusion::common::cast::as_string_view_array;
use datafusion::common::{exec_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::file::schema;

/// Reads `fields` of each event. No query can name it: it is never registered.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParseEvents {
    fields: Fields,
    signature: Signature,
}

impl ParseEvents {
    pub(crate) fn new(fields: Fields) -> Self {
        let signature = Signature::exact(vec![DataType::Utf8View], Volatility::Immutable);
        Self { fields, signature }
    }
}

/// An event as the column writes it.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
    created_at: DateTime<Utc>,
    #[serde(borrow, default)]
    correlation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    causation_id: Option<Cow<'a, str>>,
}

/// One field of all events of a batch.
enum Column {
    Text(fn(&Event<'_>, &mut StringBuilder), StringBuilder),
    Moment(TimestampMicrosecondBuilder),
}

impl Column {
    fn of(name: &str) -> Result<Self> {
        let take: fn(&Event<'_>, &mut StringBuilder) = match name {
            "id" => |event, out| out.append_value(&event.id),
            "event_type" => |event, out| out.append_value(&event.event_type),
            "actor" => |event, out| out.append_value(&event.actor),
            "request_id" => |event, out| out.append_option(event.request_id.as_deref()),
            "correlation_id" => |event, out| out.append_option(event.correlation_id.as_deref()),
            "causation_id" => |event, out| out.append_option(event.causation_id.as_deref()),
            "data" => |event, out| out.append_value(event.data.get()),
            "created_at" => {
                let moments = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                return Ok(Self::Moment(moments));
            }
            other => return internal_err!("events have no field {other}"),
        };
        Ok(Self::Text(take, StringBuilder::new()))
    }

    fn push(&mut self, event: &Event<'_>) {
        match self {
            Self::Text(take, out) => take(event, out),
            Self::Moment(out) => out.append_value(event.created_at.timestamp_micros()),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(_, mut out) => Arc::new(out.finish()),
            Self::Moment(mut out) => Arc::new(out.finish()),
        }
    }
}

impl ScalarUDFImpl for ParseEvents {
    fn name(&self) -> &'static str {
        "parse_events"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(schema::element(self.fields.clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text] = args.args.as_slice() else {
            return internal_err!("parse_events takes one argument");
        };
        let text = text.to_array(args.number_rows)?;
        let text = as_string_view_array(&text)?;
        let mut columns = self
            .fields
            .iter()
            .map(|field| Column::of(field.name()))
            .collect::<Result<Vec<_>>>()?;
        let mut ends = Vec::with_capacity(text.len() + 1);
        let mut end = 0_usize;
        ends.push(0_i32);
        for row in 0..text.len() {
            if !text.is_null(row) {
                let events: Vec<Event<'_>> = serde_json::from_str(text.value(row))
                    .map_err(|e| DataFusionError::Execution(format!("events: {e}")))?;
                end += events.len();
                for event in &events {
                    columns.iter_mut().for_each(|column| column.push(event));
                }
            }
            let Ok(end) = i32::try_from(end) else {
                return exec_err!("too many events in a batch");
            };
            ends.push(end);
        }
        let arrays = columns.into_iter().map(Column::finish).collect();
        let events = StructArray::try_new(self.fields.clone(), arrays, None)?;
        let list = ListArray::try_new(
            schema::element(self.fields.clone()),
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            Arc::new(events),
            None,
        )?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}
