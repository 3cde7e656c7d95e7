//! Totals and status, as pure functions.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

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

/// What the lines of one tax rate come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaxTotal {
    /// A fraction: 0.2 is 20 %.
    pub rate: Decimal,
    /// Sum of the lines' nets.
    pub net: Decimal,
    /// Sum of the lines' taxes, each rounded on its line.
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
    /// An amount of the line is not below [`crate::limits::AMOUNT_BOUND`].
    #[error("the line's amount is out of range")]
    OutOfRange,
    /// The discount is larger than quantity x unit price.
    #[error("the discount is larger than the line")]
    DiscountExceedsLine,
}

/// Net and tax of one line, each rounded half up (away from zero) to `exponent` decimals. The quantity may be negative:
/// a line that gives back; it takes no discount.
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
    if discount > gross.max(Decimal::ZERO) {
        return Err(LineFault::DiscountExceedsLine);
    }
    let net = gross.checked_sub(discount).ok_or(LineFault::OutOfRange)?;
    taxed(round_half_up(net, exponent), tax_rate, exponent).ok_or(LineFault::OutOfRange)
}

/// A net with its tax; `None` out of range.
#[must_use]
pub fn taxed(net: Decimal, tax_rate: Decimal, exponent: u32) -> Option<LineAmounts> {
    let tax = round_half_up(net.checked_mul(tax_rate)?, exponent);
    (is_amount(net) && is_amount(tax)).then_some(LineAmounts { net, tax })
}

/// Spreads a discount on the whole document over its lines, in proportion to the nets that are positive: each share is
/// rounded down to `exponent` decimals, and what is left goes, a smallest unit each, to the lines whose shares were cut
/// most, the first of them first (the method of largest remainders). The shares add up to the discount, and none is
/// larger than its line. `None` when the discount is larger than the lines.
#[must_use]
pub fn spread(discount: Decimal, nets: &[Decimal], exponent: u32) -> Option<Vec<Decimal>> {
    let positive = |net: &Decimal| (*net).max(Decimal::ZERO);
    let sum: Decimal = nets.iter().sum();
    let base: Decimal = nets.iter().map(positive).sum();
    if discount > sum {
        return None;
    }
    if discount.is_zero() {
        return Some(vec![Decimal::ZERO; nets.len()]);
    }
    let mut shares = Vec::with_capacity(nets.len());
    let mut cuts = Vec::with_capacity(nets.len());
    for (index, net) in nets.iter().enumerate() {
        // At most 18 digits each: the product is exact.
        let exact = positive(net).checked_mul(discount)?.checked_div(base)?;
        let share = exact.round_dp_with_strategy(exponent, RoundingStrategy::ToZero);
        cuts.push((exact - share, index));
        shares.push(share);
    }
    let unit = Decimal::new(1, exponent);
    let mut left = discount - shares.iter().sum::<Decimal>();
    cuts.sort_by_key(|(cut, index)| (std::cmp::Reverse(*cut), *index));
    for (_, index) in cuts.into_iter().cycle().take(2 * nets.len()) {
        if left <= Decimal::ZERO {
            break;
        }
        if shares[index] + unit <= nets[index] {
            shares[index] += unit;
            left -= unit;
        }
    }
    left.is_zero().then_some(shares)
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
