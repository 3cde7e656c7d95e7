//! What credit notes take of an invoice, rate by rate: never more than was charged, and the rest to the last unit.

use rust_decimal::Decimal;

use super::Refusal;
use crate::decimal::{render_amount, render_plain};
use crate::rules::{self, TaxTotal, Totals};
use crate::{Credited, Invoice, Line, TaxRounding};

/// One rate of an invoice, and what a credit note takes of it.
struct Rate {
    /// As charged.
    charged: TaxTotal,
    /// By the credit notes before.
    before: TaxTotal,
    /// By this one: the net, and the tax that the lines have one by one.
    lines: TaxTotal,
    /// The tax that it takes.
    tax: Decimal,
}

impl Rate {
    /// Net that can still be credited. Of what was given back on the invoice, nothing can be credited.
    fn left(&self) -> Decimal {
        self.charged.net.max(Decimal::ZERO) - self.before.net
    }

    fn tax_left(&self) -> Decimal {
        self.charged.tax - self.before.tax
    }

    /// The tax that the note takes; `None` out of range.
    fn tax(&self, rounding: TaxRounding, known: bool, exponent: u32) -> Option<Decimal> {
        let net = self.before.net + self.lines.net;
        if known && net == self.charged.net {
            return Some(self.tax_left());
        }
        Some(match rounding {
            TaxRounding::Document => {
                rules::tax_on(net, self.lines.rate, exponent)? - self.before.tax
            }
            TaxRounding::Line if !known => self.lines.tax,
            // Many small lines can come to more than the lines of the invoice did.
            TaxRounding::Line if self.charged.net >= Decimal::ZERO => {
                self.lines.tax.min(self.tax_left())
            }
            TaxRounding::Line => self.lines.tax.max(self.tax_left()),
        })
    }
}

impl Invoice {
    /// How its credit notes round.
    pub(super) fn note_rounding(&self) -> TaxRounding {
        self.tax_rounding.unwrap_or(TaxRounding::Line)
    }

    /// Gives the lines of a credit note their taxes. Returns what the note comes to, and what is credited with it.
    ///
    /// By document, a rate's tax is that of all the net credited at it so far, rounded, less the tax credited so far; by
    /// line, the sum of the lines' taxes, as long as so much is left. Who takes all the net that is left takes all the tax
    /// that is left. Where it is not known what was credited at which rate, only the total is bounded, and each rate's tax
    /// gives way by a unit at most.
    pub(super) fn credited_with(
        &self,
        lines: &mut [Line],
    ) -> Result<(Totals, Option<Credited>), Refusal> {
        let out_of_range = || Refusal::new("amount_out_of_range", "the total is too large");
        let (rounding, exponent) = (self.note_rounding(), self.currency.exponent());
        // By line it is this, or near it; by document it does not matter.
        rules::tax_lines(lines, TaxRounding::Line, exponent).ok_or_else(out_of_range)?;
        let known = self.credited_by_rate();
        let mut rates = self.rates(lines, known.as_deref())?;
        for rate in &mut rates {
            let tax = rate.tax(rounding, known.is_some(), exponent);
            rate.tax = tax.ok_or_else(out_of_range)?;
        }
        let left = self.total - self.amount_credited;
        if known.is_none() {
            give_way(&mut rates, left, exponent);
        }
        let to_share = |of: Decimal| {
            let at = rates
                .binary_search_by(|rate| rate.lines.rate.cmp(&of))
                .ok()?;
            let rate = &rates[at];
            let by_line = rounding == TaxRounding::Line && rate.tax == rate.lines.tax;
            Some((!by_line).then_some(rate.tax))
        };
        let totals = rules::share_tax_of(lines, exponent, to_share)
            .and_then(|()| rules::totals(lines))
            .ok_or_else(out_of_range)?;
        self.check_credit(&totals, left, known.is_some().then_some(&rates[..]))?;
        let by_rate = known.map(|before| sums(before, &rates));
        let paid_out = self.credited.as_ref().map(|credited| credited.paid_out);
        let credited = (by_rate.is_some() || paid_out.is_some()).then(|| Credited {
            by_rate,
            paid_out: paid_out.unwrap_or_default(),
        });
        Ok((totals, credited))
    }

    /// What was credited at each rate so far; `None` where that is not known.
    fn credited_by_rate(&self) -> Option<Vec<TaxTotal>> {
        let kept = self.credited.as_ref().and_then(|c| c.by_rate.clone());
        kept.or_else(|| self.amount_credited.is_zero().then(Vec::new))
    }

    /// The note's rates, which the invoice must have, the lowest first.
    fn rates(&self, lines: &[Line], before: Option<&[TaxTotal]>) -> Result<Vec<Rate>, Refusal> {
        let charged = rules::taxes(&self.lines);
        let rate = |lines: TaxTotal| {
            let charged = find(&charged, lines.rate).ok_or_else(|| {
                let rate = render_plain(lines.rate, 0);
                let detail = format!("nothing was charged at a tax rate of {rate}");
                Refusal::new("credit_rate_not_charged", detail)
            })?;
            let nothing = TaxTotal {
                rate: lines.rate,
                net: Decimal::ZERO,
                tax: Decimal::ZERO,
            };
            Ok(Rate {
                charged,
                before: find(before.unwrap_or_default(), lines.rate).unwrap_or(nothing),
                lines,
                tax: Decimal::ZERO,
            })
        };
        rules::taxes(lines).into_iter().map(rate).collect()
    }

    fn check_credit(
        &self,
        totals: &Totals,
        left: Decimal,
        rates: Option<&[Rate]>,
    ) -> Result<(), Refusal> {
        if totals.total <= Decimal::ZERO {
            let detail = "a credit note comes to more than nothing";
            return Err(Refusal::new("credit_of_nothing", detail));
        }
        if totals.total > left {
            let (code, words) = ("credit_exceeds_invoice", "is not credited");
            return Err(self.beyond(code, totals.total, words, left));
        }
        let beyond = |rate: &&Rate| rate.lines.net > rate.left();
        if let Some(rate) = rates.unwrap_or_default().iter().find(beyond) {
            let exponent = self.currency.exponent();
            let detail = format!(
                "{} {} at a tax rate of {}, where only {} is not credited",
                render_amount(rate.lines.net, exponent),
                self.currency,
                render_plain(rate.lines.rate, 0),
                render_amount(rate.left(), exponent)
            );
            return Err(Refusal::new("credit_exceeds_rate", detail));
        }
        Ok(())
    }
}

fn find(of: &[TaxTotal], rate: Decimal) -> Option<TaxTotal> {
    let at = of.binary_search_by(|of| of.rate.cmp(&rate)).ok()?;
    of.get(at).copied()
}

/// Takes as many units off the taxes as make the note fit into what is left, at most one a rate.
fn give_way(rates: &mut [Rate], left: Decimal, exponent: u32) {
    let unit = Decimal::new(1, exponent);
    let total: Decimal = rates.iter().map(|of| of.lines.net + of.tax).sum();
    let mut excess = total - left;
    let taxed = || rates.iter().filter(|of| of.tax >= unit);
    if excess > unit * Decimal::from(taxed().count()) {
        return;
    }
    for rate in rates.iter_mut().filter(|of| of.tax >= unit) {
        if excess > Decimal::ZERO {
            rate.tax -= unit;
            excess -= unit;
        }
    }
}

/// What was credited, with what these rates take; the lowest rate first.
fn sums(before: Vec<TaxTotal>, rates: &[Rate]) -> Vec<TaxTotal> {
    let taken = rates.iter().map(|rate| TaxTotal {
        tax: rate.tax,
        ..rate.lines
    });
    let mut all: Vec<TaxTotal> = before.into_iter().chain(taken).collect();
    all.sort_by_key(|of| of.rate);
    all.dedup_by(|next, of| {
        let same = next.rate == of.rate;
        if same {
            of.net += next.net;
            of.tax += next.tax;
        }
        same
    });
    all
}
