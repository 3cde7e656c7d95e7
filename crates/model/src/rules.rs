//! Totals and status, as pure functions.

use rust_decimal::Decimal;

use crate::decimal::{is_amount, round_half_up};
use crate::{Line, Status};

/// What one line comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineAmounts {
    /// round(quantity x `unit_price` - discount).
    pub net: Decimal,
    /// round(net x `tax_rate`).
    pub tax: Decimal,
}

/// What the lines of an invoice come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the lines' nets.
    pub subtotal: Decimal,
    /// Sum of the lines' discounts.
    pub discount_total: Decimal,
    /// Sum of the lines' taxes.
    pub tax_total: Decimal,
    /// `subtotal + tax_total`.
    pub total: Decimal,
}

/// A line whose amounts cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// An amount of the line is not below [`crate::limits::AMOUNT_BOUND`].
    #[error("the line's amount is out of range")]
    OutOfRange,
    /// The discount is larger than quantity x unit price.
    #[error("the discount is larger than the line")]
    DiscountExceedsLine,
}

/// Net and tax of one line, each rounded half up to `exponent` decimals.
///
/// # Errors
/// [`LineFault`]. The arithmetic is exact for every amount in range: it needs at most 14 + 12 digits of 28.
pub fn line_amounts(
    quantity: Decimal,
    unit_price: Decimal,
    discount: Decimal,
    tax_rate: Decimal,
    exponent: u32,
) -> Result<LineAmounts, LineFault> {
    let gross = quantity
        .checked_mul(unit_price)
        .filter(|gross| is_amount(*gross))
        .ok_or(LineFault::OutOfRange)?;
    if discount > gross {
        return Err(LineFault::DiscountExceedsLine);
    }
    let net = gross.checked_sub(discount).ok_or(LineFault::OutOfRange)?;
    let net = round_half_up(net, exponent);
    let tax = net.checked_mul(tax_rate).ok_or(LineFault::OutOfRange)?;
    let tax = round_half_up(tax, exponent);
    if is_amount(net) && is_amount(tax) {
        Ok(LineAmounts { net, tax })
    } else {
        Err(LineFault::OutOfRange)
    }
}

/// Sums of the lines' amounts; `None` when one of them is out of range.
#[must_use]
pub fn totals(lines: &[Line]) -> Option<Totals> {
    let mut sums = Totals::default();
    for line in lines {
        sums.subtotal = sums.subtotal.checked_add(line.net)?;
        sums.discount_total = sums.discount_total.checked_add(line.discount)?;
        sums.tax_total = sums.tax_total.checked_add(line.tax)?;
    }
    sums.total = sums.subtotal.checked_add(sums.tax_total)?;
    let all = [
        sums.subtotal,
        sums.discount_total,
        sums.tax_total,
        sums.total,
    ];
    all.into_iter().all(is_amount).then_some(sums)
}

/// The status that follows from what is paid. A draft stays one; an issued invoice of zero is paid.
#[must_use]
pub fn status_for(total: Decimal, paid: Decimal, issued: bool) -> Status {
    if !issued {
        Status::Draft
    } else if paid >= total {
        Status::Paid
    } else if paid > Decimal::ZERO {
        Status::PartiallyPaid
    } else {
        Status::Issued
    }
}

/// Whether nothing can be owed any more: only such invoices move to the cold tier.
#[must_use]
pub fn is_settled(status: Status) -> bool {
    matches!(status, Status::Paid | Status::Cancelled)
}
