//! The rules of payments that come with an invoice.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::PaymentInput;
use super::check::{At, Mistakes, Rule};
use super::read::Object;
use super::validate::amount;
use crate::decimal::{is_amount, render_amount};
use crate::{Currency, Payment, PaymentKind, id, limits};

const RECEIVED: Rule = (
    |value| value > Decimal::ZERO,
    "payment_not_positive",
    "must be greater than 0",
);

/// The payments that are sound, in the order in which they were sent.
pub(super) fn check_payments(
    input: Option<Vec<Object<PaymentInput>>>,
    currency: Option<Currency>,
    issued: bool,
    now: DateTime<Utc>,
    mistakes: &mut Mistakes,
) -> Vec<Payment> {
    let input = input.unwrap_or_default();
    if input.len() > limits::MAX_PAYMENTS {
        mistakes.note(
            At::Root,
            "payments",
            "too_many_payments",
            "an invoice has at most 1,000 payments",
        );
        return Vec::new();
    }
    if !input.is_empty() && !issued {
        mistakes.note(
            At::Root,
            "payments",
            "payment_on_draft",
            "a draft cannot be paid",
        );
    }
    let sent = input.len();
    let check = |(index, Object(payment))| {
        check_payment(At::Payment(index), payment, currency, now, mistakes)
    };
    let payments: Vec<Payment> = input.into_iter().enumerate().filter_map(check).collect();
    // With a mistaken payment dropped, the indexes would be wrong; the client comes back anyway.
    if payments.len() > 1 && payments.len() == sent {
        check_references(&payments, mistakes);
    }
    payments
}

fn check_references(payments: &[Payment], mistakes: &mut Mistakes) {
    let mut seen = HashSet::with_capacity(payments.len());
    for (index, payment) in payments.iter().enumerate() {
        if !seen.insert(payment.reference.as_str()) {
            let detail = "another payment of the invoice has this reference";
            mistakes.note(
                At::Payment(index),
                "reference",
                "duplicate_payment_reference",
                detail,
            );
        }
    }
}

fn check_payment(
    at: At,
    input: PaymentInput,
    currency: Option<Currency>,
    now: DateTime<Utc>,
    mistakes: &mut Mistakes,
) -> Option<Payment> {
    let reference = mistakes.required_text(at, "reference", input.reference, limits::MAX_REFERENCE);
    let amount = mistakes.required_number(at, "amount", input.amount, amount(currency, RECEIVED));
    if input.paid_on.is_none() {
        mistakes.missing(at, "paid_on");
    }
    let paid_on = mistakes.date(at, "paid_on", input.paid_on);
    let method = mistakes.required_text(at, "method", input.method, limits::MAX_METHOD);
    Some(Payment {
        // Ids of one millisecond ascend on a thread, so that the payments keep their order.
        kind: PaymentKind::Payment,
        reverses: None,
        id: id::new_id(now),
        reference: reference?,
        amount: amount?,
        paid_on: paid_on?,
        method: method?,
    })
}

/// The sum of the payments: at most the total.
pub(super) fn check_paid(
    payments: &[Payment],
    total: Decimal,
    currency: Currency,
    mistakes: &mut Mistakes,
) -> Option<Decimal> {
    let paid = payments.iter().try_fold(Decimal::ZERO, |sum, payment| {
        sum.checked_add(payment.amount)
    });
    match paid.filter(|paid| is_amount(*paid)) {
        Some(paid) if paid <= total => Some(paid),
        Some(paid) => {
            let exponent = currency.exponent();
            let (paid, total) = (
                render_amount(paid, exponent),
                render_amount(total, exponent),
            );
            mistakes.note(
                At::Root,
                "payments",
                "overpaid",
                &format!("{paid} paid of {total}"),
            );
            None
        }
        None => {
            mistakes.note(
                At::Root,
                "payments",
                "amount_out_of_range",
                "the payments are too large",
            );
            None
        }
    }
}
