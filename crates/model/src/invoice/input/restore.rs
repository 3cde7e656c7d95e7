//! Documents that come back: an exported invoice, read as the API rendered it.
//!
//! A line with a `version` is a whole document and not a new one. It keeps what a new one is given
//! (id, times, version, ids and kinds of payments), and everything that is derived must be what the
//! rules make of the rest: the document that comes out, rendered again, is the document that came
//! in.

use rust_decimal::Decimal;
use serde_json::Value;

use super::check::Mistakes;
use super::document::{Context, InvoiceInput};
use crate::Code;
use crate::{FieldError, Invalid, Invoice, Kind, Payment, PaymentKind, Status};

impl InvoiceInput {
    /// Reads an exported document back. `line` is its text; see [`InvoiceInput::into_invoice`] for
    /// the rest. Of its customer, the snapshot is set as the document shows it, and `customer_id`
    /// is left open: records are the tenant's, and the store finds or makes the one that the
    /// customer's `external_id` names.
    ///
    /// # Errors
    /// As for a new one; `time_out_of_range`, `invalid_version`, `duplicate_payment_id`,
    /// `id_not_v7` and `id_in_future` of a payment or of `credits`, and `inconsistent_document`
    /// with the first member that is not what the others come to.
    pub fn into_stored(self, line: &[u8], context: &Context) -> Result<Invoice, Invalid> {
        let mut mistakes = Mistakes::of_stored();
        let invoice = self.build(context, &mut mistakes);
        let invoice = mistakes.into_result(invoice)?;
        if let Some(mistake) = impossible(&invoice) {
            return Err(mistake.into());
        }
        let told = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap_or_default() };
        let (sent, made) = (told(line), told(&invoice.render()));
        let (Some(sent), Some(made)) = (sent.as_object(), made.as_object()) else {
            return Err(FieldError::new("", Code::InvalidType, "must be an object").into());
        };
        // Whose it is and which record its customer has are the archive's matter, not the
        // document's. Nothing follows from metadata, which is what was sent (and has numbers that
        // these values would round).
        let other = made.iter().find(|(member, value)| {
            !matches!(member.as_str(), "tenant_id" | "customer_id" | "metadata")
                && sent.get(*member).unwrap_or(&Value::Null) != *value
        });
        match other {
            None => Ok(invoice),
            Some((member, value)) => {
                let detail = format!("the document comes to {value}");
                Err(FieldError::new(member.as_str(), Code::InconsistentDocument, detail).into())
            }
        }
    }
}

/// The first member that no life of a document leads to, though each value is sound by itself.
fn impossible(invoice: &Invoice) -> Option<FieldError> {
    let wrong = |field: &str, detail: &str| {
        let code = Code::InconsistentDocument;
        Some(FieldError::new(field, code, detail))
    };
    let is_note = invoice.kind == Kind::CreditNote;
    let credited = invoice.amount_credited;
    match invoice.status {
        Status::Issued | Status::PartiallyPaid | Status::Paid if invoice.issue_date.is_none() => {
            let detail = "what is issued has a date";
            return Some(FieldError::new("issue_date", Code::MissingField, detail));
        }
        Status::Cancelled if !(invoice.amount_paid.is_zero() && credited.is_zero()) => {
            return wrong("status", "what is paid or credited is not cancelled");
        }
        _ => {}
    }
    if invoice.credits.is_some() && !is_note {
        return wrong("credits", "only a credit note corrects an invoice");
    }
    if invoice.credits == Some(invoice.id) {
        return wrong("credits", "no credit note corrects itself");
    }
    if credited > invoice.total || (is_note && !credited.is_zero()) {
        return wrong("amount_credited", "credit notes come to the total at most");
    }
    let payments = &invoice.payments;
    payments.iter().enumerate().find_map(|(index, payment)| {
        let comes_in = payment.amount > Decimal::ZERO;
        let sound = match payment.kind {
            PaymentKind::Payment | PaymentKind::Credit => comes_in && payment.reverses.is_none(),
            // A credit note is settled by it, an invoice gives back.
            PaymentKind::Refund => comes_in == is_note && payment.reverses.is_none(),
            PaymentKind::Reversal => {
                let once = |of: &&Payment| of.reverses == payment.reverses;
                let of = |before: &Payment| {
                    Some(before.id) == payment.reverses
                        && before.kind == PaymentKind::Payment
                        && before.amount == -payment.amount
                };
                payments[..index].iter().any(of) && payments.iter().filter(once).count() == 1
            }
        };
        let field = || format!("payments[{index}]");
        (!sound)
            .then(|| {
                wrong(
                    &field(),
                    "its kind, amount and reverses do not fit together",
                )
            })
            .flatten()
    })
}
