//! Amounts shared out over lines without a rest, in whole smallest units: the method of largest
//! remainders.
//!
//! A line's quota is a fraction of its net. Each share is first the quota cut to whole units,
//! towards minus infinity; the units that are missing to the whole go one each to the lines that
//! lost most by it, the earlier line first. So a share is less than one unit from its quota, and
//! the shares add up to the whole.

use std::cmp::Reverse;

use rust_decimal::Decimal;

use crate::Line;

/// Lines of most invoices: as many need no memory of their own.
const FEW: usize = 16;
/// Decimals of rates and percentages.
const FINE: u32 = crate::bounds::FINE_DECIMALS;
/// A rate of one, and 100 %.
const ONE: i64 = 1_000_000;
const ALL: i64 = 100 * ONE;

/// A line, in whole units.
#[derive(Clone, Copy, Default)]
struct Part {
    line: usize,
    rate: i64,
    net: i64,
    share: i64,
    rest: i64,
}

/// A fraction of the nets; the denominator is positive.
#[derive(Clone, Copy)]
struct Fraction(i64, i64);

/// `amount` in units of 10^-`exponent`; `None` where it is no whole number of them, or too many.
pub(crate) fn units(amount: Decimal, exponent: u32) -> Option<i64> {
    let amount = match amount.scale() > exponent {
        true => amount.normalize(),
        false => amount,
    };
    let shift = exponent.checked_sub(amount.scale())?;
    let units = amount.mantissa().checked_mul(10_i128.pow(shift))?;
    i64::try_from(units).ok()
}

/// floor(`value` x fraction), and how much of the denominator it cut off.
fn cut(value: i64, Fraction(numerator, denominator): Fraction) -> (i128, i64) {
    // 128-bit division is a function call; almost every product fits into 64 bits.
    if let Some(product) = value.checked_mul(numerator) {
        let rest = product.rem_euclid(denominator);
        return (product.div_euclid(denominator).into(), rest);
    }
    let (product, denominator) = (
        i128::from(value) * i128::from(numerator),
        i128::from(denominator),
    );
    // Truncation safety: a remainder of a 64-bit number.
    #[allow(clippy::cast_possible_truncation)]
    let rest = product.rem_euclid(denominator) as i64;
    (product.div_euclid(denominator), rest)
}

/// round(`value` x fraction), half away from zero; `None` out of range.
fn rounded(value: i64, fraction: Fraction) -> Option<i64> {
    let (floor, rest) = cut(value, fraction);
    let twice = i128::from(rest) * 2;
    let half = i128::from(fraction.1);
    // A negative value is further from zero at its floor.
    let negative = (value < 0) != (fraction.0 < 0);
    let up = twice > half || (twice == half && !negative);
    i64::try_from(floor + i128::from(up)).ok()
}

/// Gives each part its share of `whole`.
fn share_out(parts: &mut [Part], whole: i64, fraction: Fraction) -> Option<()> {
    let mut missing = i128::from(whole);
    for part in &mut *parts {
        let (floor, rest) = cut(part.net, fraction);
        part.share = i64::try_from(floor).ok()?;
        part.rest = rest;
        missing -= floor;
    }
    let count = i128::try_from(parts.len()).ok()?;
    // A whole that is further from the quotas than rounding takes it: all lines bear that alike.
    let each = i64::try_from(missing.checked_div_euclid(count)?).ok()?;
    // Truncation safety: less than the number of lines.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let missing = missing.rem_euclid(count) as usize;
    if each != 0 {
        for part in &mut *parts {
            part.share = part.share.checked_add(each)?;
        }
    }
    if missing > 0 {
        parts.select_nth_unstable_by_key(missing, |part| (Reverse(part.rest), part.line));
        for part in &mut parts[..missing] {
            part.share = part.share.checked_add(1)?;
        }
    }
    Some(())
}

fn sum(parts: &[Part]) -> Option<i64> {
    let sum: i128 = parts.iter().map(|part| i128::from(part.net)).sum();
    i64::try_from(sum).ok()
}

/// The lines in whole units, in `few` or `many`; `None` out of range.
fn parts_of<'a>(
    lines: &[Line],
    exponent: u32,
    few: &'a mut [Part; FEW],
    many: &'a mut Vec<Part>,
) -> Option<&'a mut [Part]> {
    let parts = match few.get_mut(..lines.len()) {
        Some(few) => few,
        None => {
            many.resize(lines.len(), Part::default());
            &mut many[..]
        }
    };
    for (at, (part, line)) in parts.iter_mut().zip(lines).enumerate() {
        part.line = at;
        part.net = units(line.net, exponent)?;
        part.rate = units(line.tax_rate, FINE)?;
    }
    Some(parts)
}

/// round(`net` x `rate`), half away from zero, to `exponent` decimals; `None` out of range.
pub(crate) fn tax_on(net: Decimal, rate: Decimal, exponent: u32) -> Option<Decimal> {
    let fraction = Fraction(units(rate, FINE)?, ONE);
    let tax = rounded(units(net, exponent)?, fraction)?;
    Some(Decimal::new(tax, exponent))
}

/// Gives each line its share of its rate's tax, which is round(sum of the rate's nets x rate) (EN
/// 16931, BR-CO-17). Rates are one where their values are: 0.19 is 0.190. `None` out of range.
pub(crate) fn share_tax(lines: &mut [Line], exponent: u32) -> Option<()> {
    share(lines, exponent, |rate, net| {
        rounded(net, Fraction(rate, ONE)).map(Some)
    })
}

/// The same where `tax_of` says a rate's tax, or that the lines have it already.
pub(crate) fn share_tax_of(
    lines: &mut [Line],
    exponent: u32,
    tax_of: impl Fn(Decimal) -> Option<Option<Decimal>>,
) -> Option<()> {
    share(lines, exponent, |rate, _| {
        match tax_of(Decimal::new(rate, FINE))? {
            Some(tax) => units(tax, exponent).map(Some),
            None => Some(None),
        }
    })
}

fn share(
    lines: &mut [Line],
    exponent: u32,
    tax_of: impl Fn(i64, i64) -> Option<Option<i64>>,
) -> Option<()> {
    let (mut few, mut many) = ([Part::default(); FEW], Vec::new());
    let parts = parts_of(lines, exponent, &mut few, &mut many)?;
    if !parts.is_sorted_by_key(|part| part.rate) {
        parts.sort_unstable_by_key(|part| (part.rate, part.line));
    }
    for of_rate in parts.chunk_by_mut(|a, b| a.rate == b.rate) {
        let rate = of_rate.first()?.rate;
        let Some(tax) = tax_of(rate, sum(of_rate)?)? else {
            continue;
        };
        share_out(of_rate, tax, Fraction(rate, ONE))?;
        for part in of_rate {
            lines[part.line].tax = Decimal::new(part.share, exponent);
        }
    }
    Some(())
}

/// Takes a discount on the whole document off its lines, each its share. A percentage is taken off
/// every line, so that 100 % leaves nothing of any; an amount is the same part of every line as it
/// is of their sum, which is not smaller. A line that gives back gives less back. `None` out of
/// range.
pub(crate) fn share_discount(
    lines: &mut [Line],
    discount: Decimal,
    percent: Option<Decimal>,
    exponent: u32,
) -> Option<()> {
    let (mut few, mut many) = ([Part::default(); FEW], Vec::new());
    let parts = parts_of(lines, exponent, &mut few, &mut many)?;
    let whole = units(discount, exponent)?;
    let fraction = match percent {
        Some(percent) => Fraction(units(percent, FINE)?, ALL),
        None => Fraction(whole, Some(sum(parts)?).filter(|sum| *sum > 0)?),
    };
    share_out(parts, whole, fraction)?;
    for part in parts {
        let share = Decimal::new(part.share, exponent);
        let line = &mut lines[part.line];
        line.document_discount = share;
        line.net -= share;
    }
    Some(())
}

#[cfg(test)]
mod tests;
