//! Columns to rows. Columns are found by name, and a nullable one that is missing is null, so that
//! files of every older schema version can be read.

pub(crate) mod columns;

use arrow::array::{
    Array, Date32Array, Int64Array, ListArray, RecordBatch, StructArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sheaf_model::{
    Credited, Currency, Customer, Invoice, Line, Metadata, Payment, PaymentKind, TenantId,
};
use sheaf_store::{ArchivedInvoice, EventRow};
use uuid::Uuid;

use self::columns::{Amounts, OptionalAmounts, column, date, moment, required};
pub(crate) use self::columns::{Dates, Text};

/// Why a row cannot be read; callers add the object.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    fn new(detail: impl std::fmt::Display) -> Self {
        Self(detail.to_string())
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

struct Lines<'a> {
    list: &'a ListArray,
    sku: Text<'a>,
    description: Text<'a>,
    numbers: [Amounts<'a>; 6],
    discount_percent: OptionalAmounts<'a>,
    document_discount: OptionalAmounts<'a>,
}

impl<'a> Lines<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let list: &ListArray = required(batch, "lines")?;
        let items = elements(list)?;
        Ok(Self {
            list,
            sku: Text::new(items, "sku")?,
            description: Text::new(items, "description")?,
            numbers: [
                Amounts::new(items, "quantity")?,
                Amounts::new(items, "unit_price")?,
                Amounts::new(items, "discount")?,
                Amounts::new(items, "tax_rate")?,
                Amounts::new(items, "net")?,
                Amounts::new(items, "tax")?,
            ],
            discount_percent: OptionalAmounts::new(items, "discount_percent")?,
            document_discount: OptionalAmounts::new(items, "document_discount")?,
        })
    }

    fn get(&self, row: usize) -> Result<Vec<Line>> {
        let [quantity, unit_price, discount, tax_rate, net, tax] = &self.numbers;
        let line = |at| {
            Ok(Line {
                sku: self.sku.owned(at),
                description: self.description.must(at)?.to_owned(),
                quantity: quantity.get(at)?,
                unit_price: unit_price.get(at)?,
                discount: discount.get(at)?,
                tax_rate: tax_rate.get(at)?,
                net: net.get(at)?,
                tax: tax.get(at)?,
                discount_percent: self.discount_percent.get(at)?,
                document_discount: self.document_discount.get(at)?.unwrap_or_default(),
            })
        };
        element_range(self.list, row)?.map(line).collect()
    }
}

struct Payments<'a> {
    list: &'a ListArray,
    id: Text<'a>,
    reference: Text<'a>,
    amount: Amounts<'a>,
    paid_on: &'a Date32Array,
    method: Text<'a>,
    kind: Text<'a>,
    reverses: Text<'a>,
}

impl<'a> Payments<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let list: &ListArray = required(batch, "payments")?;
        let items = elements(list)?;
        Ok(Self {
            list,
            id: Text::new(items, "id")?,
            reference: Text::new(items, "reference")?,
            amount: Amounts::new(items, "amount")?,
            paid_on: required(items, "paid_on")?,
            method: Text::new(items, "method")?,
            kind: Text::new(items, "kind")?,
            reverses: Text::new(items, "reverses")?,
        })
    }

    fn get(&self, row: usize) -> Result<Vec<Payment>> {
        let payment = |at| {
            Ok(Payment {
                id: self.id.parsed(at)?,
                reference: self.reference.must(at)?.to_owned(),
                amount: self.amount.get(at)?,
                paid_on: date(self.paid_on.value(at))?,
                method: self.method.must(at)?.to_owned(),
                // Before version 2 there was no other.
                kind: match self.kind.get(at) {
                    Some(_) => self.kind.parsed(at)?,
                    None => PaymentKind::Payment,
                },
                reverses: self.reverses.optional_id(at)?,
            })
        };
        element_range(self.list, row)?.map(payment).collect()
    }
}

fn elements(list: &ListArray) -> Result<&StructArray> {
    list.values()
        .as_any()
        .downcast_ref()
        .ok_or_else(|| DecodeError::new("a list holds no structs"))
}

fn element_range(list: &ListArray, row: usize) -> Result<std::ops::Range<usize>> {
    let bound = |at: usize| usize::try_from(list.value_offsets()[at]).map_err(DecodeError::new);
    Ok(bound(row)?..bound(row + 1)?)
}

/// The columns of the customer.
pub(crate) struct Customers<'a> {
    id: Text<'a>,
    shown: [Text<'a>; 6],
}

impl<'a> Customers<'a> {
    pub(crate) fn of_batch(batch: &'a RecordBatch) -> Result<Self> {
        let text = |name| Text::new(batch, name);
        Ok(Self {
            id: text("customer_id")?,
            shown: [
                text("customer_external_id")?,
                text("customer_name")?,
                text("customer_email")?,
                text("customer_tax_id")?,
                text("customer_address")?,
                text("customer_country")?,
            ],
        })
    }

    pub(crate) fn id(&self, row: usize) -> Result<Option<Uuid>> {
        self.id.optional_id(row)
    }

    pub(crate) fn get(&self, row: usize) -> Option<Customer> {
        let [external_id, name, email, tax_id, address, country] = &self.shown;
        Some(Customer {
            name: name.owned(row)?,
            external_id: external_id.owned(row),
            email: email.owned(row),
            tax_id: tax_id.owned(row),
            address: address.owned(row),
            country: country.owned(row),
        })
    }
}

/// The columns of a batch, ready to give rows.
pub struct Rows<'a> {
    tenant: TenantId,
    count: usize,
    id: Text<'a>,
    header: [Text<'a>; 5],
    customer: Customers<'a>,
    dates: [Dates<'a>; 2],
    amounts: [Amounts<'a>; 6],
    metadata: Text<'a>,
    version: &'a Int64Array,
    created_at: &'a TimestampMicrosecondArray,
    modified_at: &'a TimestampMicrosecondArray,
    lines: Lines<'a>,
    payments: Payments<'a>,
    events: Text<'a>,
    credits: Text<'a>,
    /// Discount, its percentage, and what is credited.
    since_2: [OptionalAmounts<'a>; 3],
    /// Since version 3, and so with the next two.
    tax_rounding: Text<'a>,
    profile_version: Option<&'a Int64Array>,
    credited: Text<'a>,
}

impl<'a> Rows<'a> {
    /// Looks up the columns of a batch of `tenant`.
    ///
    /// # Errors
    /// A column that every version has is missing, or one has another type.
    pub fn new(batch: &'a RecordBatch, tenant: TenantId) -> Result<Self> {
        let text = |name| Text::new(batch, name);
        let amount = |name| Amounts::new(batch, name);
        Ok(Self {
            tenant,
            count: batch.num_rows(),
            id: text("id")?,
            header: [
                text("external_id")?,
                text("number")?,
                text("kind")?,
                text("status")?,
                text("currency")?,
            ],
            customer: Customers::of_batch(batch)?,
            dates: [
                Dates::of_batch(batch, "issue_date")?,
                Dates::of_batch(batch, "due_date")?,
            ],
            amounts: [
                amount("subtotal")?,
                amount("discount_total")?,
                amount("tax_total")?,
                amount("total")?,
                amount("amount_paid")?,
                amount("amount_due")?,
            ],
            metadata: text("metadata")?,
            version: required(batch, "version")?,
            created_at: required(batch, "created_at")?,
            modified_at: required(batch, "modified_at")?,
            lines: Lines::new(batch)?,
            payments: Payments::new(batch)?,
            events: text("events")?,
            credits: text("credits")?,
            since_2: [
                OptionalAmounts::new(batch, "discount")?,
                OptionalAmounts::new(batch, "discount_percent")?,
                OptionalAmounts::new(batch, "amount_credited")?,
            ],
            tax_rounding: text("tax_rounding")?,
            profile_version: column(batch, "profile_version")?,
            credited: text("credited")?,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The invoice of a row.
    ///
    /// # Errors
    /// A value is null that must not be, or out of its type's range.
    pub fn invoice(&self, row: usize) -> Result<Invoice> {
        let [external_id, number, kind, status, currency] = &self.header;
        let [issue_date, due_date] = &self.dates;
        let [
            subtotal,
            discount_total,
            tax_total,
            total,
            amount_paid,
            amount_due,
        ] = &self.amounts;
        let [discount, discount_percent, amount_credited] = &self.since_2;
        let code = currency.must(row)?;
        Ok(Invoice {
            id: self.id.parsed(row)?,
            tenant_id: self.tenant,
            external_id: external_id.owned(row),
            number: number.owned(row),
            kind: kind.parsed(row)?,
            status: status.parsed(row)?,
            currency: Currency::parse(code)
                .map_err(|_| DecodeError::new(format!("currency {code:?}")))?,
            customer_id: self.customer.id(row)?,
            customer: self.customer.get(row),
            issue_date: issue_date.get(row)?,
            due_date: due_date.get(row)?,
            lines: self.lines.get(row)?,
            payments: self.payments.get(row)?,
            credits: self.credits.optional_id(row)?,
            discount: discount.get(row)?.unwrap_or_default(),
            discount_percent: discount_percent.get(row)?,
            tax_rounding: self.tax_rounding.optional(row)?,
            amount_credited: amount_credited.get(row)?.unwrap_or_default(),
            credited: self.credited(row)?,
            subtotal: subtotal.get(row)?,
            discount_total: discount_total.get(row)?,
            tax_total: tax_total.get(row)?,
            total: total.get(row)?,
            amount_paid: amount_paid.get(row)?,
            amount_due: amount_due.get(row)?,
            metadata: Metadata::from_stored(self.metadata.must(row)?.to_owned()),
            profile_version: self
                .profile_version
                .filter(|column| !column.is_null(row))
                .map(|column| column.value(row)),
            version: self.version.value(row),
            created_at: moment(self.created_at, row)?,
            modified_at: moment(self.modified_at, row)?,
        })
    }

    fn credited(&self, row: usize) -> Result<Option<Credited>> {
        let read = |text| {
            Credited::from_json(text)
                .ok_or_else(|| DecodeError::new(format!("credited of row {row} is {text:?}")))
        };
        self.credited.get(row).map(read).transpose()
    }

    /// The invoice of a row with its history.
    ///
    /// # Errors
    /// As [`Rows::invoice`], or the events are no JSON.
    pub fn archived(&self, row: usize) -> Result<ArchivedInvoice> {
        Ok(ArchivedInvoice {
            invoice: self.invoice(row)?,
            events: self.events(row)?,
        })
    }

    fn events(&self, row: usize) -> Result<Vec<EventRow>> {
        self.events.get(row).map_or_else(|| Ok(Vec::new()), events)
    }
}

/// Reads the text of the `events` column.
pub(crate) fn events(text: &str) -> Result<Vec<EventRow>> {
    let events: Vec<EventJson> = serde_json::from_str(text).map_err(DecodeError::new)?;
    Ok(events.into_iter().map(EventRow::from).collect())
}

/// An event as the `events` column writes it.
#[derive(Deserialize)]
struct EventJson {
    id: Uuid,
    event_type: String,
    actor: String,
    request_id: Option<String>,
    data: Box<RawValue>,
    created_at: DateTime<Utc>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
}

impl From<EventJson> for EventRow {
    fn from(event: EventJson) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            actor: event.actor,
            request_id: event.request_id,
            data: event.data.get().to_owned(),
            created_at: event.created_at,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
        }
    }
}
