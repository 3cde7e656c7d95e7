//! Rows of the hot tier as the model.

use std::collections::HashMap;

use sheaf_model::{
    Credited, Currency, Customer, Invoice, Kind, Line, Metadata, Payment, Status, TaxRounding,
    TenantId,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use sheaf_cluster::Error;

use crate::StoreError;
use crate::event::row::EventRow;

/// `jsonb` as its text, unparsed: it is in its normal form already.
pub(crate) struct JsonbText(pub(crate) String);

impl<'a> FromSql<'a> for JsonbText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match raw.split_first() {
            Some((1, text)) => Ok(Self(std::str::from_utf8(text)?.to_owned())),
            _ => Err("unknown jsonb version".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

/// Key of an invoice among those of several tenants.
pub(crate) type Key = (TenantId, Uuid);

/// Puts headers, lines and payments of a snapshot together, in the order of the headers.
///
/// Lines must come ordered by invoice and position, payments by invoice and id. Those of other
/// invoices are left.
pub(crate) fn assemble<'a>(
    headers: &[Row],
    lines: impl IntoIterator<Item = &'a Row>,
    payments: impl IntoIterator<Item = &'a Row>,
) -> Result<Vec<Invoice>, StoreError> {
    let mut by_invoice: HashMap<Key, (Vec<Line>, Vec<Payment>)> =
        HashMap::with_capacity(headers.len());
    for row in lines {
        by_invoice.entry(key(row)).or_default().0.push(line(row));
    }
    for row in payments {
        let payments = &mut by_invoice.entry(key(row)).or_default().1;
        payments.push(payment(row)?);
    }
    headers
        .iter()
        .map(|row| {
            let (lines, payments) = by_invoice.remove(&key(row)).unwrap_or_default();
            let counts = counts(row);
            if usize::try_from(counts.0) != Ok(lines.len())
                || usize::try_from(counts.1) != Ok(payments.len())
            {
                return Err(Error::Corrupt(format!(
                    "invoice {}: lines or payments are missing",
                    key(row).1
                ))
                .into());
            }
            header(row, lines, payments)
        })
        .collect()
}

/// All row queries start with the tenant and the invoice.
pub(crate) fn key(row: &Row) -> Key {
    (TenantId(row.get(0)), row.get(1))
}

/// The status of a header, as it is stored.
pub(crate) fn status(header: &Row) -> &str {
    header.get(5)
}

/// How many lines and payments belong to a header.
pub(crate) fn counts(header: &Row) -> (i32, i32) {
    (header.get(26), header.get(27))
}

fn header(row: &Row, lines: Vec<Line>, payments: Vec<Payment>) -> Result<Invoice, StoreError> {
    let (tenant_id, id) = key(row);
    let corrupt = |what: &str| StoreError::from(Error::Corrupt(format!("invoice {id}: {what}")));
    let customer = row.get::<_, Option<String>>(9).map(|name| Customer {
        name,
        external_id: row.get(8),
        email: row.get(10),
        tax_id: row.get(11),
        address: row.get(12),
        country: row.get(13),
    });
    Ok(Invoice {
        id,
        tenant_id,
        external_id: row.get(2),
        number: row.get(3),
        kind: row
            .get::<_, &str>(4)
            .parse::<Kind>()
            .map_err(|_| corrupt("kind"))?,
        status: status(row)
            .parse::<Status>()
            .map_err(|_| corrupt("status"))?,
        currency: row
            .get::<_, &str>(6)
            .parse::<Currency>()
            .map_err(|_| corrupt("currency"))?,
        customer_id: row.get(7),
        customer,
        issue_date: row.get(14),
        due_date: row.get(15),
        lines,
        payments,
        credits: row.get(28),
        discount: row.get(29),
        discount_percent: row.get(30),
        tax_rounding: row
            .get::<_, Option<&str>>(32)
            .map(str::parse::<TaxRounding>)
            .transpose()
            .map_err(|_| corrupt("tax_rounding"))?,
        subtotal: row.get(16),
        discount_total: row.get(17),
        tax_total: row.get(18),
        total: row.get(19),
        amount_paid: row.get(20),
        amount_credited: row.get(31),
        credited: row
            .get::<_, Option<JsonbText>>(34)
            .map(|text| Credited::from_json(&text.0).ok_or_else(|| corrupt("credited")))
            .transpose()?,
        amount_due: row.get(21),
        metadata: Metadata::from_stored(row.get::<_, JsonbText>(22).0),
        profile_version: row.get(33),
        version: row.get(23),
        created_at: row.get(24),
        modified_at: row.get(25),
    })
}

fn line(row: &Row) -> Line {
    Line {
        sku: row.get(2),
        description: row.get(3),
        quantity: row.get(4),
        unit_price: row.get(5),
        discount: row.get(6),
        tax_rate: row.get(7),
        net: row.get(8),
        tax: row.get(9),
        discount_percent: row.get(10),
        document_discount: row.get(11),
    }
}

fn payment(row: &Row) -> Result<Payment, StoreError> {
    let kind: &str = row.get(7);
    Ok(Payment {
        id: row.get(2),
        reference: row.get(3),
        kind: kind
            .parse()
            .map_err(|_| Error::Corrupt(format!("payment kind {kind:?}")))?,
        amount: row.get(4),
        paid_on: row.get(5),
        method: row.get(6),
        reverses: row.get(8),
    })
}

pub(crate) fn event(row: &Row) -> EventRow {
    EventRow {
        id: row.get(2),
        event_type: row.get(3),
        actor: row.get(4),
        request_id: row.get(5),
        data: row.get::<_, JsonbText>(6).0,
        created_at: row.get(7),
        correlation_id: row.get(8),
        causation_id: row.get(9),
    }
}

/// Ends a page of headers at its limit, or where their invoices together have more than `max_lines`
/// lines, but never before the first. Returns whether more follows.
pub(crate) fn cut(headers: &mut Vec<Row>, limit: usize, max_lines: i64) -> bool {
    let mut lines = 0_i64;
    let fits = headers
        .iter()
        .take(limit)
        .take_while(|row| {
            let first = lines == 0;
            lines += i64::from(counts(row).0);
            first || lines <= max_lines
        })
        .count();
    let more = headers.len() > fits;
    headers.truncate(fits);
    more
}
