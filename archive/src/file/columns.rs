//! Rows to columns: the builders of one record batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Decimal128Builder, Int32Builder, Int64Builder, ListArray, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sheaf_model::{Credited, Decimal, Invoice, Line, Payment, TaxRounding};
use sheaf_store::{ArchivedInvoice, EventRow};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::metadata_columns;
use crate::file::metadata_columns::MetadataKeys;
use crate::file::schema;
use crate::file::schema::{AMOUNT, FINE, PERCENT, RATE};

/// Days of a date since 1970-01-01.
pub(crate) fn days(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// The unscaled value of `value` at `scale`, if it has no further decimals and fits `precision`.
fn unscaled(value: Decimal, (precision, scale): (u8, i8)) -> Result<i128, ArchiveError> {
    let beyond =
        || ArchiveError::Encode(format!("{value} does not fit DECIMAL({precision},{scale})"));
    let value = value.normalize();
    let shift = u32::try_from(scale)
        .map_err(|_| beyond())?
        .checked_sub(value.scale())
        .ok_or_else(beyond)?;
    let unscaled = 10_i128
        .checked_pow(shift)
        .and_then(|p| value.mantissa().checked_mul(p))
        .ok_or_else(beyond)?;
    if unscaled.unsigned_abs() >= 10_u128.pow(u32::from(precision)) {
        return Err(beyond());
    }
    Ok(unscaled)
}

/// A decimal column.
struct Decimals(Decimal128Builder, (u8, i8));

impl Decimals {
    fn new(shape: (u8, i8)) -> Self {
        Self(
            Decimal128Builder::new().with_data_type(DataType::Decimal128(shape.0, shape.1)),
            shape,
        )
    }

    fn push_option(&mut self, value: Option<Decimal>) -> Result<(), ArchiveError> {
        match value {
            Some(value) => self.push(value)?,
            None => self.0.append_null(),
        }
        Ok(())
    }

    fn push(&mut self, value: Decimal) -> Result<(), ArchiveError> {
        self.0.append_value(unscaled(value, self.1)?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// A text column; counts what it takes, so that a batch stays small.
#[derive(Default)]
struct Texts(StringBuilder);

impl Texts {
    fn push(&mut self, value: &str) {
        self.0.append_value(value);
    }

    fn push_option(&mut self, value: Option<&str>) {
        self.0.append_option(value);
    }

    fn push_id(&mut self, id: Uuid) {
        self.0
            .append_value(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }

    fn push_option_id(&mut self, id: Option<Uuid>) {
        match id {
            Some(id) => self.push_id(id),
            None => self.0.append_null(),
        }
    }

    fn len(&self) -> usize {
        self.0.values_slice().len()
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Where each row's elements end, of a list column.
struct Offsets(Vec<i32>);

impl Offsets {
    fn new() -> Self {
        Self(vec![0])
    }

    fn push(&mut self, elements: usize) -> Result<(), ArchiveError> {
        let last = self.0.last().copied().unwrap_or(0);
        let end = i32::try_from(elements)
            .ok()
            .and_then(|n| last.checked_add(n));
        self.0.push(
            end.ok_or_else(|| {
                ArchiveError::Encode("too many list elements in a batch".to_owned())
            })?,
        );
        Ok(())
    }

    fn finish(&mut self, fields: Fields, columns: Vec<ArrayRef>) -> Result<ArrayRef, ArchiveError> {
        let offsets =
            OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.0, vec![0])));
        let items = StructArray::try_new(fields.clone(), columns, None).map_err(encode)?;
        let list = ListArray::try_new(schema::element(fields), offsets, Arc::new(items), None);
        Ok(Arc::new(list.map_err(encode)?))
    }
}

struct LineColumns {
    offsets: Offsets,
    line_no: Int32Builder,
    sku: Texts,
    description: Texts,
    quantity: Decimals,
    unit_price: Decimals,
    discount: Decimals,
    tax_rate: Decimals,
    net: Decimals,
    tax: Decimals,
    discount_percent: Decimals,
    document_discount: Decimals,
}

impl LineColumns {
    fn new() -> Self {
        Self {
            offsets: Offsets::new(),
            line_no: Int32Builder::new(),
            sku: Texts::default(),
            description: Texts::default(),
            quantity: Decimals::new(FINE),
            unit_price: Decimals::new(FINE),
            discount: Decimals::new(AMOUNT),
            tax_rate: Decimals::new(RATE),
            net: Decimals::new(AMOUNT),
            tax: Decimals::new(AMOUNT),
            discount_percent: Decimals::new(PERCENT),
            document_discount: Decimals::new(AMOUNT),
        }
    }

    fn push(&mut self, lines: &[Line]) -> Result<(), ArchiveError> {
        self.offsets.push(lines.len())?;
        for (line_no, line) in (1..).zip(lines) {
            self.line_no.append_value(line_no);
            self.sku.push_option(line.sku.as_deref());
            self.description.push(&line.description);
            self.quantity.push(line.quantity)?;
            self.unit_price.push(line.unit_price)?;
            self.discount.push(line.discount)?;
            self.tax_rate.push(line.tax_rate)?;
            self.net.push(line.net)?;
            self.tax.push(line.tax)?;
            self.discount_percent.push_option(line.discount_percent)?;
            self.document_discount.push(line.document_discount)?;
        }
        Ok(())
    }

    fn text_bytes(&self) -> usize {
        self.sku.len() + self.description.len()
    }

    fn finish(&mut self) -> Result<ArrayRef, ArchiveError> {
        let columns = vec![
            Arc::new(self.line_no.finish()) as ArrayRef,
            self.sku.finish(),
            self.description.finish(),
            self.quantity.finish(),
            self.unit_price.finish(),
            self.discount.finish(),
            self.tax_rate.finish(),
            self.net.finish(),
            self.tax.finish(),
            self.discount_percent.finish(),
            self.document_discount.finish(),
        ];
        self.offsets.finish(schema::line_fields(), columns)
    }
}

struct PaymentColumns {
    offsets: Offsets,
    id: Texts,
    reference: Texts,
    amount: Decimals,
    paid_on: Date32Builder,
    method: Texts,
    kind: Texts,
    reverses: Texts,
}

impl PaymentColumns {
    fn new() -> Self {
        Self {
            offsets: Offsets::new(),
            id: Texts::default(),
            reference: Texts::default(),
            amount: Decimals::new(AMOUNT),
            paid_on: Date32Builder::new(),
            method: Texts::default(),
            kind: Texts::default(),
            reverses: Texts::default(),
        }
    }

    fn push(&mut self, payments: &[Payment]) -> Result<(), ArchiveError> {
        self.offsets.push(payments.len())?;
        for payment in payments {
            self.id.push_id(payment.id);
            self.reference.push(&payment.reference);
            self.amount.push(payment.amount)?;
            self.paid_on.append_value(days(payment.paid_on));
            self.method.push(&payment.method);
            self.kind.push(payment.kind.as_str());
            self.reverses.push_option_id(payment.reverses);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ArchiveError> {
        let columns = vec![
            self.id.finish(),
            self.reference.finish(),
            self.amount.finish(),
            Arc::new(self.paid_on.finish()) as ArrayRef,
            self.method.finish(),
            self.kind.finish(),
            self.reverses.finish(),
        ];
        self.offsets.finish(schema::payment_fields(), columns)
    }
}

/// The columns of one record batch while it grows.
pub(crate) struct Columns {
    rows: usize,
    /// `id` to `number`, and the other texts in the order of the schema up to `customer_country`.
    texts: [Texts; 13],
    issue_date: Date32Builder,
    due_date: Date32Builder,
    amounts: [Decimals; 6],
    metadata: Texts,
    version: Int64Builder,
    created_at: TimestampMicrosecondBuilder,
    modified_at: TimestampMicrosecondBuilder,
    lines: LineColumns,
    payments: PaymentColumns,
    events: Texts,
    credits: Texts,
    discount: Decimals,
    discount_percent: Decimals,
    amount_credited: Decimals,
    tax_rounding: Texts,
    profile_version: Int64Builder,
    credited: Texts,
    keys: MetadataKeys,
    /// Of `keys`.
    declared: Vec<Texts>,
    schema: SchemaRef,
}

impl Columns {
    pub(crate) fn new(keys: MetadataKeys) -> Self {
        let timestamps = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
        Self {
            rows: 0,
            texts: std::array::from_fn(|_| Texts::default()),
            issue_date: Date32Builder::new(),
            due_date: Date32Builder::new(),
            amounts: std::array::from_fn(|_| Decimals::new(AMOUNT)),
            metadata: Texts::default(),
            version: Int64Builder::new(),
            created_at: timestamps(),
            modified_at: timestamps(),
            lines: LineColumns::new(),
            payments: PaymentColumns::new(),
            events: Texts::default(),
            credits: Texts::default(),
            discount: Decimals::new(AMOUNT),
            discount_percent: Decimals::new(PERCENT),
            amount_credited: Decimals::new(AMOUNT),
            tax_rounding: Texts::default(),
            profile_version: Int64Builder::new(),
            credited: Texts::default(),
            declared: keys.iter().map(|_| Texts::default()).collect(),
            schema: schema::with_metadata(&keys),
            keys,
        }
    }

    /// Adds a row. After a failure the columns are of unequal length and of no further use.
    pub(crate) fn push(&mut self, row: &ArchivedInvoice) -> Result<(), ArchiveError> {
        let invoice = &row.invoice;
        self.push_texts(invoice);
        self.issue_date.append_option(invoice.issue_date.map(days));
        self.due_date.append_option(invoice.due_date.map(days));
        let amounts = [
            invoice.subtotal,
            invoice.discount_total,
            invoice.tax_total,
            invoice.total,
            invoice.amount_paid,
            invoice.amount_due,
        ];
        for (column, amount) in self.amounts.iter_mut().zip(amounts) {
            column.push(amount)?;
        }
        self.metadata.push(invoice.metadata.as_str());
        self.version.append_value(invoice.version);
        self.created_at
            .append_value(invoice.created_at.timestamp_micros());
        self.modified_at
            .append_value(invoice.modified_at.timestamp_micros());
        self.lines.push(&invoice.lines)?;
        self.payments.push(&invoice.payments)?;
        self.events.push(&events_json(&row.events)?);
        self.credits.push_option_id(invoice.credits);
        self.discount.push(invoice.discount)?;
        self.discount_percent
            .push_option(invoice.discount_percent)?;
        self.amount_credited.push(invoice.amount_credited)?;
        let rounding = invoice.tax_rounding.map(TaxRounding::as_str);
        self.tax_rounding.push_option(rounding);
        self.profile_version.append_option(invoice.profile_version);
        let credited = invoice.credited.as_ref().map(Credited::to_json);
        self.credited.push_option(credited.as_deref());
        let values = metadata_columns::select(invoice.metadata.as_str(), &self.keys);
        for (column, value) in self.declared.iter_mut().zip(values) {
            column.push_option(value.as_deref());
        }
        self.rows += 1;
        Ok(())
    }

    fn push_texts(&mut self, invoice: &Invoice) {
        let customer = invoice.customer.as_ref();
        let mut buffer = Uuid::encode_buffer();
        let customer_id = invoice
            .customer_id
            .map(|id| &*id.hyphenated().encode_lower(&mut buffer));
        let [id, texts @ ..] = &mut self.texts;
        id.push_id(invoice.id);
        let values = [
            invoice.external_id.as_deref(),
            invoice.number.as_deref(),
            Some(invoice.kind.as_str()),
            Some(invoice.status.as_str()),
            Some(invoice.currency.code()),
            customer_id,
            customer.and_then(|c| c.external_id.as_deref()),
            // A customer is there when its name is: the only member that it must have.
            customer.map(|c| c.name.as_str()),
            customer.and_then(|c| c.email.as_deref()),
            customer.and_then(|c| c.tax_id.as_deref()),
            customer.and_then(|c| c.address.as_deref()),
            customer.and_then(|c| c.country.as_deref()),
        ];
        for (column, value) in texts.iter_mut().zip(values) {
            column.push_option(value);
        }
    }

    /// Of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the texts that can be long.
    pub(crate) fn text_bytes(&self) -> usize {
        self.lines.text_bytes() + self.metadata.len() + self.events.len()
    }

    /// Takes the batch and leaves empty columns.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArchiveError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = self.texts.iter_mut().map(Texts::finish).collect();
        columns.push(Arc::new(self.issue_date.finish()));
        columns.push(Arc::new(self.due_date.finish()));
        columns.extend(self.amounts.iter_mut().map(Decimals::finish));
        columns.push(self.metadata.finish());
        columns.push(Arc::new(self.version.finish()));
        columns.push(Arc::new(self.created_at.finish()));
        columns.push(Arc::new(self.modified_at.finish()));
        columns.push(self.lines.finish()?);
        columns.push(self.payments.finish()?);
        columns.push(self.events.finish());
        columns.push(self.credits.finish());
        columns.push(self.discount.finish());
        columns.push(self.discount_percent.finish());
        columns.push(self.amount_credited.finish());
        columns.push(self.tax_rounding.finish());
        columns.push(Arc::new(self.profile_version.finish()));
        columns.push(self.credited.finish());
        columns.extend(self.declared.iter_mut().map(Texts::finish));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(encode)
    }
}

/// An event as the `events` column writes it.
#[derive(Serialize)]
struct EventJson<'a> {
    id: Uuid,
    event_type: &'a str,
    actor: &'a str,
    request_id: Option<&'a str>,
    data: &'a RawValue,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
}

fn events_json(events: &[EventRow]) -> Result<String, ArchiveError> {
    let events: Vec<EventJson<'_>> = events
        .iter()
        .map(|event| {
            Ok(EventJson {
                id: event.id,
                event_type: &event.event_type,
                actor: &event.actor,
                request_id: event.request_id.as_deref(),
                data: serde_json::from_str(&event.data)?,
                created_at: event.created_at,
                correlation_id: event.correlation_id.as_deref(),
                causation_id: event.causation_id.as_deref(),
            })
        })
        .collect::<Result<_, serde_json::Error>>()
        .map_err(encode)?;
    serde_json::to_string(&events).map_err(encode)
}

pub(crate) fn encode(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Encode(error.to_string())
}
