//! Totals and status, as pure functions.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::money::decimal::{is_amount, round_half_up};
use crate::{Line, Status, TaxRounding};

pub mod earlier;

pub(crate) use crate::money::share::{share_discount, share_tax_of, tax_on};

/// What the lines of one tax rate come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaxTotal {
    /// A fraction: 0.2 is 20 %.
    pub rate: Decimal,
    /// Sum of the lines' nets.
    pub net: Decimal,
    /// Sum of the lines' taxes.
    pub tax: Decimal,
}

/// What the lines of an invoice come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the lines' nets.
    pub subtotal: Decimal,
    /// Sum of all discounts, the lines' own and the document's.
    pub discount_total: Decimal,
    /// Sum of the lines' taxes.
    pub tax_total: Decimal,
    /// `subtotal + tax_total`.
    pub total: Decimal,
}

/// A line whose amounts cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// An amount of the line is not below [`crate::bounds::AMOUNT_BOUND`].
    #[error("the line's amount is out of range")]
    OutOfRange,
    /// The discount is larger than quantity x unit price.
    #[error("the discount is larger than the line")]
    DiscountExceedsLine,
}

/// Net of one line: round(quantity x `unit_price`) - `discount`, rounded half up (away from zero)
/// to `exponent` decimals, those of the discount. The quantity may be negative: a line that gives
/// back.
///
/// # Errors
/// [`LineFault`]. The arithmetic is exact for every amount in range: it needs at most 14 + 12
/// digits of 28.
pub fn line_net(
    quantity: Decimal,
    unit_price: Decimal,
    discount: LineDiscount,
    exponent: u32,
) -> Result<Decimal, LineFault> {
    let gross = quantity
        .checked_mul(unit_price)
        .filter(|gross| is_amount(*gross))
        .ok_or(LineFault::OutOfRange)?;
    let gross = round_half_up(gross, exponent);
    let off = match discount {
        // Rounding keeps the order: no percentage up to 100 is more than the line, whichever its
        // sign.
        LineDiscount::Percentage(off) => off,
        LineDiscount::Amount(off) if off > gross.max(Decimal::ZERO) => {
            return Err(LineFault::DiscountExceedsLine);
        }
        LineDiscount::Amount(off) => off,
    };
    Some(gross - off)
        .filter(|net| is_amount(*net))
        .ok_or(LineFault::OutOfRange)
}

/// What is taken off a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineDiscount {
    /// An amount; a line that gives back takes none.
    Amount(Decimal),
    /// What a percentage comes to ([`percentage`]): negative on a line that gives back.
    Percentage(Decimal),
}

/// round(`base` x `percent` / 100), half away from zero; `None` out of range.
#[must_use]
pub fn percentage(base: Decimal, percent: Decimal, exponent: u32) -> Option<Decimal> {
    let share = base.checked_mul(percent)?;
    Some(round_half_up(share / Decimal::ONE_HUNDRED, exponent))
}

/// Gives every line its tax, as `rounding` says; `None` out of range.
#[must_use]
pub fn tax_lines(lines: &mut [Line], rounding: TaxRounding, exponent: u32) -> Option<()> {
    match rounding {
        TaxRounding::Document => crate::money::share::share_tax(lines, exponent),
        TaxRounding::Line => {
            for line in lines {
                line.tax = tax_on(line.net, line.tax_rate, exponent)?;
            }
            Some(())
        }
    }
}

/// What the lines come to by tax rate, the lowest rate first.
#[must_use]
pub fn taxes(lines: &[Line]) -> Vec<TaxTotal> {
    let mut by_rate: BTreeMap<Decimal, (Decimal, Decimal)> = BTreeMap::new();
    for line in lines {
        let (net, tax) = by_rate.entry(line.tax_rate).or_default();
        *net += line.net;
        *tax += line.tax;
    }
    by_rate
        .into_iter()
        .map(|(rate, (net, tax))| TaxTotal { rate, net, tax })
        .collect()
}

/// Sums of the lines' amounts; `None` when one of them is out of range.
#[must_use]
pub fn totals(lines: &[Line]) -> Option<Totals> {
    let mut sums = Totals::default();
    for line in lines {
        sums.subtotal = sums.subtotal.checked_add(line.net)?;
        let discount = line.discount.checked_add(line.document_discount)?;
        sums.discount_total = sums.discount_total.checked_add(discount)?;
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

/// The total if every line's tax were rounded by itself; `None` out of range.
#[must_use]
pub fn total_by_line(lines: &[Line], exponent: u32) -> Option<Decimal> {
    let mut total = Decimal::ZERO;
    for line in lines {
        let tax = tax_on(line.net, line.tax_rate, exponent)?;
        total = total.checked_add(line.net)?.checked_add(tax)?;
    }
    Some(total)
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
