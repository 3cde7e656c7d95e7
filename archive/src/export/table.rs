//! Invoices as CSV (RFC 4180).

use csv::{Terminator, Writer, WriterBuilder};
use sheaf_model::money::decimal::{render_amount, render_plain};
use sheaf_model::{Customer, Decimal, Invoice};
use uuid::Uuid;

use crate::ArchiveError;

/// The columns, in their order. What is absent is empty; amounts have the currency's decimals;
/// `lines` and `payments` are counts, `metadata` is JSON, times are RFC 3339 in UTC.
pub const COLUMNS: [&str; 32] = [
    "id",
    "external_id",
    "number",
    "kind",
    "status",
    "currency",
    "customer_id",
    "customer_external_id",
    "customer_name",
    "customer_email",
    "customer_tax_id",
    "customer_address",
    "customer_country",
    "issue_date",
    "due_date",
    "credits",
    "lines",
    "payments",
    "discount",
    "discount_percent",
    "subtotal",
    "discount_total",
    "tax_total",
    "total",
    "amount_paid",
    "amount_due",
    "amount_credited",
    "metadata",
    "version",
    "created_at",
    "modified_at",
    "tax_rounding",
];

/// Records that are not sent yet.
pub(super) struct Table(Writer<Vec<u8>>);

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new())
}

fn failed(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Encode(format!("CSV: {error}"))
}

impl Table {
    /// Without records; `header` begins it with the names of the columns.
    pub(super) fn new(header: bool) -> Self {
        let mut writer = writer();
        if header {
            // Into memory: what cannot be written there is told by the next record.
            let _ = writer.write_record(COLUMNS);
        }
        Self(writer)
    }

    /// Bytes so far, but for a buffer of some KiB.
    pub(super) fn bytes(&self) -> usize {
        self.0.get_ref().len()
    }

    /// The records so far.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, ArchiveError> {
        std::mem::replace(&mut self.0, writer())
            .into_inner()
            .map_err(failed)
    }

    pub(super) fn push(&mut self, invoice: &Invoice) -> Result<(), ArchiveError> {
        self.0.write_record(record(invoice)).map_err(failed)
    }
}

fn record(invoice: &Invoice) -> [String; COLUMNS.len()] {
    let amount = |value: Decimal| render_amount(value, invoice.currency.exponent());
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let id = |value: Option<Uuid>| value.map_or_else(String::new, |id| id.to_string());
    let nobody = Customer::default();
    let customer = invoice.customer.as_ref().unwrap_or(&nobody);
    let time =
        |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let date = |day: Option<chrono::NaiveDate>| day.map_or_else(String::new, |d| d.to_string());
    let percent = |value| render_plain(value, 0);
    [
        invoice.id.to_string(),
        text(&invoice.external_id),
        text(&invoice.number),
        invoice.kind.as_str().to_owned(),
        invoice.status.as_str().to_owned(),
        invoice.currency.code().to_owned(),
        id(invoice.customer_id),
        text(&customer.external_id),
        customer.name.clone(),
        text(&customer.email),
        text(&customer.tax_id),
        text(&customer.address),
        text(&customer.country),
        date(invoice.issue_date),
        date(invoice.due_date),
        id(invoice.credits),
        invoice.lines.len().to_string(),
        invoice.payments.len().to_string(),
        amount(invoice.discount),
        invoice.discount_percent.map_or_else(String::new, percent),
        amount(invoice.subtotal),
        amount(invoice.discount_total),
        amount(invoice.tax_total),
        amount(invoice.total),
        amount(invoice.amount_paid),
        amount(invoice.amount_due),
        amount(invoice.amount_credited),
        invoice.metadata.as_str().to_owned(),
        invoice.version.to_string(),
        time(invoice.created_at),
        time(invoice.modified_at),
        invoice
            .tax_rounding
            .map_or_else(String::new, |rounding| rounding.as_str().to_owned()),
    ]
}
