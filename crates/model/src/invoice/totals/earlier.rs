//! The rules of documents that were stored before `tax_rounding` existed. Nothing new is made by
//! them: they stay so that an export of that time is read back as it was told.
//!
//! What they did otherwise: tax is rounded on each line; a discount of 100 % can leave a smallest
//! unit, as it is rounded down where rounding up would make it more than the unrounded line;
//! percentages of lines that give back, and of documents that come to less than nothing, are kept
//! but not taken off; and a discount of the whole document is spread over the lines that are
//! positive.

use rust_decimal::{Decimal, RoundingStrategy};

use super::LineFault;
use crate::money::decimal::{is_amount, round_half_up};

/// What one line comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineAmounts {
    /// round(quantity x `unit_price` - discount).
    pub net: Decimal,
    /// round(net x `tax_rate`).
    pub tax: Decimal,
}

/// Net and tax of one line, each rounded half up (away from zero) to `exponent` decimals. The
/// quantity may be negative: a line that gives back; it takes no discount.
///
/// # Errors
/// [`LineFault`]. The arithmetic is exact for every amount in range: it needs at most 14 + 12
/// digits of 28.
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

/// What a percentage of `base` comes to; `None` out of range.
#[must_use]
pub fn percentage(base: Decimal, percent: Decimal, exponent: u32) -> Option<Decimal> {
    let share = base.max(Decimal::ZERO).checked_mul(percent)?;
    let rounded = round_half_up(share / Decimal::ONE_HUNDRED, exponent);
    // Rounding up may not make it more than its base, which is rounded later.
    Some(match rounded > base && base > Decimal::ZERO {
        true => base.trunc_with_scale(exponent),
        false => rounded,
    })
}

/// Spreads a discount on the whole document over its lines, in proportion to the nets that are
/// positive: each share is rounded down to `exponent` decimals, and what is left goes, a smallest
/// unit each, to the lines whose shares were cut most, the first of them first (the method of
/// largest remainders). The shares add up to the discount, and none is larger than its line. `None`
/// when the discount is larger than the lines.
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
