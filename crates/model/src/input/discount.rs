//! Discounts of a line or of the whole document, as an amount or as a percentage.

use rust_decimal::Decimal;

use super::check::{At, Bounds, Mistakes, Rule};
use super::read::Field;
use super::validate::{amount, fine};
use crate::decimal::{render_amount, round_half_up};
use crate::{Currency, Line, rules};

const AMOUNT: Rule = (
    |value| value >= Decimal::ZERO,
    "discount_negative",
    "must not be negative",
);
const PERCENT: Bounds = fine((
    |value| value >= Decimal::ZERO && value <= Decimal::ONE_HUNDRED,
    "discount_percent_out_of_range",
    "from 0 to 100: 10 is 10 %",
));

/// A discount as sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Discount {
    sent: Option<Decimal>,
    percent: Option<Decimal>,
}

/// A discount as it is taken off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) amount: Decimal,
    pub(super) percent: Option<Decimal>,
}

impl Discount {
    pub(super) fn check(
        at: At,
        sent: Option<Field<Decimal>>,
        percent: Option<Field<Decimal>>,
        currency: Option<Currency>,
        mistakes: &mut Mistakes,
    ) -> Self {
        Self {
            sent: mistakes.number(at, "discount", sent, amount(currency, AMOUNT)),
            percent: mistakes.number(at, "discount_percent", percent, PERCENT),
        }
    }

    /// The amount of `base`. An amount sent beside a percentage is checked, as a total is.
    fn of(self, at: At, base: Decimal, exponent: u32, mistakes: &mut Mistakes) -> Option<Taken> {
        let Some(percent) = self.percent else {
            return Some(Taken {
                amount: self.sent.unwrap_or_default(),
                percent: None,
            });
        };
        let share = base.max(Decimal::ZERO).checked_mul(percent)?;
        let rounded = round_half_up(share / Decimal::ONE_HUNDRED, exponent);
        // Rounding up may not make it more than its base, which is rounded later.
        let amount = match rounded > base && base > Decimal::ZERO {
            true => base.trunc_with_scale(exponent),
            false => rounded,
        };
        if self.sent.is_some_and(|sent| sent != amount) {
            let detail = format!(
                "discount_percent comes to {}",
                render_amount(amount, exponent)
            );
            mistakes.note(at, "discount", "discount_mismatch", &detail);
            return None;
        }
        Some(Taken {
            amount,
            percent: Some(percent),
        })
    }

    /// Off a line of `gross`.
    pub(super) fn of_line(
        self,
        at: At,
        gross: Decimal,
        exponent: u32,
        mistakes: &mut Mistakes,
    ) -> Option<Taken> {
        self.of(at, gross, exponent, mistakes)
    }

    /// Off all lines: each gets its share, and with it another net and tax.
    pub(super) fn spread(
        self,
        lines: &mut [Line],
        currency: Currency,
        mistakes: &mut Mistakes,
    ) -> Option<Taken> {
        let exponent = currency.exponent();
        let nets: Vec<Decimal> = lines.iter().map(|line| line.net).collect();
        let taken = self.of(At::Root, nets.iter().sum(), exponent, mistakes)?;
        if taken.amount.is_zero() {
            return Some(taken);
        }
        let Some(shares) = rules::spread(taken.amount, &nets, exponent) else {
            let detail = "larger than the lines";
            mistakes.note(At::Root, "discount", "discount_exceeds_lines", detail);
            return None;
        };
        for (line, share) in lines.iter_mut().zip(shares) {
            let amounts = rules::taxed(line.net - share, line.tax_rate, exponent)?;
            line.document_discount = share;
            (line.net, line.tax) = (amounts.net, amounts.tax);
        }
        Some(taken)
    }
}
