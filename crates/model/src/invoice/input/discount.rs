//! Discounts of a line or of the whole document, as an amount or as a percentage.
//!
//! `rounding` is the document's; none is one of the earlier rules (`rules::earlier`), which a
//! restored document may have.

use rust_decimal::Decimal;

use super::bounds::{ANY, amount, fine};
use super::check::{At, Bounds, Mistakes};
use super::read::Field;
use crate::Code;
use crate::invoice::totals;
use crate::invoice::totals::{LineDiscount, earlier};
use crate::money::decimal::render_amount;
use crate::{Currency, Line, TaxRounding};

const NEGATIVE: (Code, &str) = (Code::DiscountNegative, "must not be negative");
const PERCENT: Bounds = fine((
    |value| value >= Decimal::ZERO && value <= Decimal::ONE_HUNDRED,
    Code::DiscountPercentOutOfRange,
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

impl Taken {
    /// Of a line.
    pub(super) fn of_line(self) -> LineDiscount {
        match self.percent {
            Some(_) => LineDiscount::Percentage(self.amount),
            None => LineDiscount::Amount(self.amount),
        }
    }
}

impl Discount {
    pub(super) fn check(
        at: At,
        sent: Option<Field<Decimal>>,
        percent: Option<Field<Decimal>>,
        currency: Option<Currency>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let sent = mistakes.number(at, "discount", sent, amount(currency, ANY));
        let percent = mistakes.number(at, "discount_percent", percent, PERCENT);
        // What a percentage of a line that gives back comes to is negative.
        if percent.is_none() && sent.is_some_and(|sent| sent < Decimal::ZERO) {
            mistakes.note(at, "discount", NEGATIVE.0, NEGATIVE.1);
        }
        Self { sent, percent }
    }

    /// Of a document that corrects an invoice: an amount of any sign, since the invoice may have
    /// had a percentage of lines that come to less than nothing.
    pub(super) fn of_credit(
        sent: Option<Field<Decimal>>,
        percent: Option<Field<Decimal>>,
        currency: Option<Currency>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let at = At::Root;
        Self {
            sent: mistakes.number(at, "discount", sent, amount(currency, ANY)),
            percent: mistakes.number(at, "discount_percent", percent, PERCENT),
        }
    }

    /// Whether it takes nothing off.
    pub(super) fn is_nothing(&self) -> bool {
        [self.sent, self.percent]
            .into_iter()
            .flatten()
            .all(|value| value.is_zero())
    }

    /// The amount of `base`. An amount sent beside a percentage is checked, as a total is.
    pub(super) fn of(
        self,
        at: At,
        base: Decimal,
        (exponent, rounding): (u32, Option<TaxRounding>),
        mistakes: &mut Mistakes,
    ) -> Option<Taken> {
        let Some(percent) = self.percent else {
            return Some(Taken {
                amount: self.sent.unwrap_or_default(),
                percent: None,
            });
        };
        let amount = match rounding {
            None => earlier::percentage(base, percent, exponent),
            Some(_) => totals::percentage(base, percent, exponent),
        };
        let Some(amount) = amount else {
            return too_large(at, mistakes);
        };
        if self.sent.is_some_and(|sent| sent != amount) {
            let detail = format!(
                "discount_percent comes to {}",
                render_amount(amount, exponent)
            );
            mistakes.note(at, "discount", Code::DiscountMismatch, &detail);
            return None;
        }
        Some(Taken {
            amount,
            percent: Some(percent),
        })
    }

    /// Off all lines: each gets its share, and with it another net. Their taxes are left to the
    /// caller, but for those of the earlier rules.
    pub(super) fn spread(
        self,
        lines: &mut [Line],
        (currency, rounding): (Currency, Option<TaxRounding>),
        mistakes: &mut Mistakes,
    ) -> Option<Taken> {
        let exponent = currency.exponent();
        let sum: Decimal = lines.iter().map(|line| line.net).sum();
        let taken = self.of(At::Root, sum, (exponent, rounding), mistakes)?;
        let none = match taken.percent {
            // Where the lines add up to nothing, a percentage does as well, and still lowers each
            // of them.
            Some(percent) if rounding.is_some() => percent.is_zero(),
            _ => taken.amount.is_zero(),
        };
        if none {
            return Some(taken);
        }
        if taken.percent.is_none() && taken.amount > sum {
            let detail = "larger than the lines";
            mistakes.note(At::Root, "discount", Code::DiscountExceedsLines, detail);
            return None;
        }
        let spread = match rounding {
            None => spread_earlier(taken.amount, lines, exponent),
            Some(_) => totals::share_discount(lines, taken.amount, taken.percent, exponent),
        };
        match spread {
            Some(()) => Some(taken),
            None => too_large(At::Root, mistakes),
        }
    }
}

fn too_large(at: At, mistakes: &mut Mistakes) -> Option<Taken> {
    let detail = "the discount is too large";
    mistakes.note(at, "discount", Code::AmountOutOfRange, detail);
    None
}

fn spread_earlier(discount: Decimal, lines: &mut [Line], exponent: u32) -> Option<()> {
    let nets: Vec<Decimal> = lines.iter().map(|line| line.net).collect();
    let shares = earlier::spread(discount, &nets, exponent)?;
    for (line, share) in lines.iter_mut().zip(shares) {
        let amounts = earlier::taxed(line.net - share, line.tax_rate, exponent)?;
        line.document_discount = share;
        (line.net, line.tax) = (amounts.net, amounts.tax);
    }
    Some(())
}
