//! Money on an issued invoice: payments, reversals, refunds.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Refusal, Step};
use crate::Code;
use crate::money::decimal::render_amount;
use crate::{Credited, Invoice, Kind, Payment, PaymentKind, bounds, id};

/// A payment or refund to be recorded: a positive amount in the invoice's decimals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPayment {
    /// Unique on the invoice.
    pub reference: String,
    /// Positive.
    pub amount: Decimal,
    /// The day on which the money moved.
    pub paid_on: NaiveDate,
    /// How it moved.
    pub method: String,
}

/// A payment to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversal {
    /// The payment.
    pub payment_id: Uuid,
    /// Of the reversal itself; `reversal:<payment>` when none is given.
    pub reference: Option<String>,
    /// The day; today when none is given.
    pub paid_on: Option<NaiveDate>,
}

/// Pays a credit note out, with the invoice that it corrects beside it: never more than is left of
/// the note, nor than came in on the invoice and was not given back. Changes both. Returns the
/// refund's id.
///
/// # Errors
/// Those of [`Invoice::refund`].
pub fn pay_out(
    note: &mut Invoice,
    invoice: &mut Invoice,
    new: NewPayment,
    now: DateTime<Utc>,
) -> Result<Uuid, Refusal> {
    let amount = new.amount;
    let before = note.clone();
    let id = note.refund(new, now)?;
    if let Err(refusal) = invoice.check_refundable(amount) {
        *note = before;
        return Err(refusal);
    }
    invoice
        .credited
        .get_or_insert_with(Credited::default)
        .paid_out += amount;
    invoice.touch(now);
    Ok(id)
}

impl Invoice {
    /// Records money that came in. Returns the payment's id. A reference that is there already is
    /// told before anything else: whoever sends a payment again learns that it was recorded, also
    /// when it was the last one.
    ///
    /// # Errors
    /// What [`super::forbidden`] says of [`Step::Pay`]; `overpayment`,
    /// `duplicate_payment_reference`, `too_many_payments`, `too_many_decimals`.
    pub fn pay(&mut self, new: NewPayment, now: DateTime<Utc>) -> Result<Uuid, Refusal> {
        self.check_reference(&new.reference)?;
        self.permit(Step::Pay)?;
        if new.amount > self.amount_due {
            return Err(self.beyond(Code::Overpayment, new.amount, "is owed", self.amount_due));
        }
        self.record(PaymentKind::Payment, new, None, now)
    }

    /// Gives money back: on an invoice a negative payment, never more than was paid in money and
    /// not paid out on its credit notes; a credit note is paid out by it, never more than is left
    /// of it ([`pay_out`] for one that corrects an invoice). Returns the refund's id.
    ///
    /// # Errors
    /// What [`super::forbidden`] says of [`Step::Refund`]; `refund_exceeds_paid`, and those of
    /// [`Invoice::pay`].
    pub fn refund(&mut self, mut new: NewPayment, now: DateTime<Utc>) -> Result<Uuid, Refusal> {
        self.check_reference(&new.reference)?;
        self.permit(Step::Refund)?;
        match self.kind {
            Kind::Invoice => {
                self.check_refundable(new.amount)?;
                new.amount = -new.amount;
            }
            Kind::CreditNote => {
                let left = self.amount_due;
                if new.amount > left {
                    return Err(self.beyond(
                        Code::RefundExceedsCredit,
                        new.amount,
                        "is left",
                        left,
                    ));
                }
            }
        }
        self.record(PaymentKind::Refund, new, None, now)
    }

    /// All that goes out for an invoice, on itself and on its credit notes, came in on it.
    fn check_refundable(&self, amount: Decimal) -> Result<(), Refusal> {
        let paid_out = self.credited.as_ref().map(|credited| credited.paid_out);
        let paid_out = paid_out.unwrap_or_default();
        // A payment that was taken back afterwards may have been paid out before.
        let left = (self.paid_in_money() - paid_out).max(Decimal::ZERO);
        if amount > left {
            let words = match paid_out.is_zero() {
                true => "was paid",
                false => "was paid and not paid out on its credit notes",
            };
            return Err(self.beyond(Code::RefundExceedsPaid, amount, words, left));
        }
        Ok(())
    }

    /// Takes a payment back, once and whole. Returns the reversal's id.
    ///
    /// # Errors
    /// `payment_not_found`; what [`super::forbidden`] says of [`Step::Reverse`];
    /// `payment_already_reversed`, `payment_not_reversible` (what is no payment),
    /// `reversal_exceeds_paid` (some of it was refunded).
    pub fn reverse(&mut self, reversal: Reversal, now: DateTime<Utc>) -> Result<Uuid, Refusal> {
        let of = reversal.payment_id;
        let Some(payment) = self.payments.iter().find(|payment| payment.id == of) else {
            let detail = "the invoice has no payment with this id";
            return Err(Refusal::new(Code::PaymentNotFound, detail));
        };
        if self.payments.iter().any(|p| p.reverses == Some(of)) {
            let detail = "the payment was reversed before";
            return Err(Refusal::new(Code::PaymentAlreadyReversed, detail));
        }
        self.permit(Step::Reverse)?;
        if payment.kind != PaymentKind::Payment {
            let detail = format!("a {} cannot be reversed", payment.kind.as_str());
            return Err(Refusal::new(Code::PaymentNotReversible, detail));
        }
        let paid = self.paid_in_money();
        if payment.amount > paid {
            return Err(self.beyond(Code::ReversalExceedsPaid, payment.amount, "is left", paid));
        }
        let new = NewPayment {
            reference: reversal
                .reference
                .unwrap_or_else(|| format!("reversal:{of}")),
            amount: -payment.amount,
            paid_on: reversal.paid_on.unwrap_or_else(|| now.date_naive()),
            method: payment.method.clone(),
        };
        self.record(PaymentKind::Reversal, new, Some(of), now)
    }

    /// What came in as money and was not given back: credit notes are none.
    #[must_use]
    pub fn paid_in_money(&self) -> Decimal {
        self.payments
            .iter()
            .filter(|payment| payment.kind != PaymentKind::Credit)
            .map(|payment| payment.amount)
            .sum()
    }

    pub(super) fn record(
        &mut self,
        kind: PaymentKind,
        new: NewPayment,
        reverses: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Uuid, Refusal> {
        if new.amount.normalize().scale() > self.currency.exponent() {
            let detail = format!(
                "amount: {} has {} decimals",
                self.currency,
                self.currency.exponent()
            );
            return Err(Refusal::new(Code::TooManyDecimals, detail));
        }
        if self.payments.len() >= bounds::MAX_PAYMENTS {
            let detail = "an invoice has at most 1,000 payments";
            return Err(Refusal::new(Code::TooManyPayments, detail));
        }
        self.check_reference(&new.reference)?;
        let id = self.next_payment_id(now);
        self.amount_paid += new.amount;
        self.payments.push(Payment {
            id,
            reference: new.reference,
            kind,
            amount: new.amount,
            paid_on: new.paid_on,
            method: new.method,
            reverses,
        });
        self.settle(now);
        Ok(id)
    }

    fn check_reference(&self, reference: &str) -> Result<(), Refusal> {
        if self.payments.iter().any(|p| p.reference == reference) {
            let detail = "another payment of the invoice has this reference";
            return Err(Refusal::new(Code::DuplicatePaymentReference, detail));
        }
        Ok(())
    }

    /// Payments are kept in the order of their ids: a new one comes last, whichever process's clock
    /// made it.
    fn next_payment_id(&self, now: DateTime<Utc>) -> Uuid {
        let id = id::new_id(now);
        match self.payments.iter().map(|payment| payment.id).max() {
            Some(last) if last >= id => id::after(last),
            _ => id,
        }
    }

    pub(super) fn beyond(&self, code: Code, amount: Decimal, is: &str, limit: Decimal) -> Refusal {
        let show = |amount| render_amount(amount, self.currency.exponent());
        Refusal::new(
            code,
            format!(
                "{} {}, but only {} {is}",
                show(amount),
                self.currency,
                show(limit)
            ),
        )
    }
}
