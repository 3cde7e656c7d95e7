//! The rules of payments that come with an invoice.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::bounds::amount;
use super::check::{At, Mistakes, Rule};
use super::document::PaymentInput;
use super::read::{Field, Object};
use crate::Code;
use crate::money::decimal::{is_amount, render_amount};
use crate::{Currency, Payment, bounds, id};

/// Where a day begins first: 14 hours ahead of UTC.
const EARLIEST_ZONE: TimeDelta = TimeDelta::hours(14);

const RECEIVED: Rule = (
    |value| value > Decimal::ZERO,
    Code::PaymentNotPositive,
    "must be greater than 0",
);

const MOVED: Rule = (
    |value| value != Decimal::ZERO,
    Code::PaymentZero,
    "must not be 0",
);

/// Only a stored document has payments with ids and kinds.
fn refuse_stored(input: &[Object<PaymentInput>], mistakes: &mut Mistakes) {
    for (index, Object(payment)) in input.iter().enumerate() {
        let members = [
            ("id", payment.id.is_some()),
            ("kind", payment.kind.is_some()),
            ("reverses", payment.reverses.is_some()),
        ];
        mistakes.refuse_stored(At::Payment(index), &members);
    }
}

/// The payments that are sound, in the order in which they were sent.
pub(super) fn check_payments(
    input: Option<Vec<Object<PaymentInput>>>,
    currency: Option<Currency>,
    issued: bool,
    (now, is_stored): (DateTime<Utc>, bool),
    mistakes: &mut Mistakes,
) -> Vec<Payment> {
    let input = input.unwrap_or_default();
    if input.len() > bounds::MAX_PAYMENTS {
        mistakes.note(
            At::Root,
            "payments",
            Code::TooManyPayments,
            "an invoice has at most 1,000 payments",
        );
        return Vec::new();
    }
    if !is_stored {
        refuse_stored(&input, mistakes);
    }
    if !input.is_empty() && !issued {
        mistakes.note(
            At::Root,
            "payments",
            Code::PaymentOnDraft,
            "a draft cannot be paid",
        );
    }
    let sent = input.len();
    let check = |(index, Object(payment))| {
        let at = At::Payment(index);
        check_payment(at, payment, currency, (now, is_stored), mistakes)
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
    let mut ids = HashSet::with_capacity(payments.len());
    for (index, payment) in payments.iter().enumerate() {
        if !ids.insert(payment.id) {
            let detail = "another payment of the invoice has this id";
            mistakes.note(At::Payment(index), "id", Code::DuplicatePaymentId, detail);
        }
        if !seen.insert(payment.reference.as_str()) {
            let detail = "another payment of the invoice has this reference";
            mistakes.note(
                At::Payment(index),
                "reference",
                Code::DuplicatePaymentReference,
                detail,
            );
        }
    }
}

fn check_payment(
    at: At,
    input: PaymentInput,
    currency: Option<Currency>,
    (now, is_stored): (DateTime<Utc>, bool),
    mistakes: &mut Mistakes,
) -> Option<Payment> {
    let reference = mistakes.required_text(at, "reference", input.reference, bounds::MAX_REFERENCE);
    let rule = if is_stored { MOVED } else { RECEIVED };
    let amount = mistakes.required_number(at, "amount", input.amount, amount(currency, rule));
    if input.paid_on.is_none() {
        mistakes.missing(at, "paid_on");
    }
    let paid_on = match is_stored {
        true => mistakes.date(at, "paid_on", input.paid_on),
        false => check_paid_on(at, input.paid_on, now, mistakes),
    };
    let method = mistakes.required_text(at, "method", input.method, bounds::MAX_METHOD);
    let id = match is_stored {
        true => {
            let id = mistakes.required(at, "id", input.id)?;
            // The next payment's id comes after it.
            if let Err(error) = id::check_client_id(id, now) {
                mistakes.add(error.at(at.path("id")));
                return None;
            }
            id
        }
        // Ids of one millisecond ascend on a thread, so that the payments keep their order.
        false => id::new_id(now),
    };
    let kind = mistakes.optional(at, "kind", input.kind);
    Some(Payment {
        kind: kind.unwrap_or_default(),
        reverses: mistakes.optional(at, "reverses", input.reverses),
        id,
        reference: reference?,
        amount: amount?,
        paid_on: paid_on?,
        method: method?,
    })
}

/// The day on which money moved. It has moved, so that it is not after tomorrow where the day
/// begins first (UTC+14): a day of grace beyond any client's own date, for money that is booked in
/// advance. A restored document keeps what it has.
pub(super) fn check_paid_on(
    at: At,
    field: Option<Field<NaiveDate>>,
    now: DateTime<Utc>,
    mistakes: &mut Mistakes,
) -> Option<NaiveDate> {
    let paid_on = mistakes.date(at, "paid_on", field)?;
    let last = (now + EARLIEST_ZONE + TimeDelta::days(1)).date_naive();
    if paid_on > last {
        let detail = format!("money has moved already: {last} at the latest");
        mistakes.note(at, "paid_on", Code::PaidInFuture, &detail);
        return None;
    }
    Some(paid_on)
}

/// The sum of the payments: at most the total. `by_line` says the total if the tax of each line
/// were rounded by itself.
pub(super) fn check_paid(
    payments: &[Payment],
    (total, currency): (Decimal, Currency),
    by_line: impl FnOnce() -> Option<Decimal>,
    mistakes: &mut Mistakes,
) -> Option<Decimal> {
    let paid = payments.iter().try_fold(Decimal::ZERO, |sum, payment| {
        sum.checked_add(payment.amount)
    });
    match paid.filter(|paid| is_amount(*paid)) {
        Some(paid) if paid <= total && paid >= Decimal::ZERO => Some(paid),
        Some(paid) => {
            let exponent = currency.exponent();
            let told = (
                render_amount(paid, exponent),
                render_amount(total, exponent),
            );
            let mut detail = format!("{} paid of {}", told.0, told.1);
            if by_line() == Some(paid) {
                detail.push_str(
                    "; it is what the lines come to with the tax of each rounded by itself: send \
                    \"tax_rounding\": \"line\" for \
                     that",
                );
            }
            mistakes.note(At::Root, "payments", Code::Overpaid, &detail);
            None
        }
        None => {
            mistakes.note(
                At::Root,
                "payments",
                Code::AmountOutOfRange,
                "the payments are too large",
            );
            None
        }
    }
}
