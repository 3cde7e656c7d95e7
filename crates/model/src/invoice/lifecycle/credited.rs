//! What credit notes take of an invoice, rate by rate: never more than was charged, and the rest to
//! the last unit.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Refusal;
use crate::Code;
use crate::invoice::totals;
use crate::invoice::totals::{TaxTotal, Totals};
use crate::money::decimal::{render_amount, render_plain};
use crate::{Credited, CreditedRate, Invoice, Line, TaxRounding};

/// One rate of an invoice, and what a credit note takes of it.
struct Rate {
    /// As charged.
    charged: TaxTotal,
    /// By the credit notes before.
    before: CreditedRate,
    /// By this one: the net, and the tax that the lines have one by one.
    lines: TaxTotal,
    /// The tax that it takes.
    tax: Decimal,
    /// How often its lines were rounded ([`roundings`]).
    rounded: u32,
    /// How far from each other rounding alone can have taken the invoice and its notes, this one
    /// included.
    slack: Decimal,
}

impl Rate {
    /// Net that can still be credited. Of what was given back on the invoice, nothing can be
    /// credited.
    fn left(&self) -> Decimal {
        self.charged.net.max(Decimal::ZERO) - self.before.net
    }

    /// What its net is above what is left, where that can be the roundings' doing and something is
    /// left.
    fn rounded_above(&self) -> Option<Decimal> {
        let (left, above) = (self.left(), self.lines.net - self.left());
        let by_rounding = above > Decimal::ZERO && above <= self.slack && left > Decimal::ZERO;
        by_rounding.then_some(above)
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
                totals::tax_on(net, self.lines.rate, exponent)? - self.before.tax
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

    /// Gives the lines of a credit note their taxes. Returns what the note comes to, and what is
    /// credited with it.
    ///
    /// By document, a rate's tax is that of all the net credited at it so far, rounded, less the
    /// tax credited so far; by line, the sum of the lines' taxes, as long as so much is left. Who
    /// takes all the net that is left takes all the tax that is left; a net above it by no more
    /// than the nets were rounded is lowered to it, by a discount on the note. Where it is not
    /// known what was credited at which rate, only the total is bounded, and each rate's tax gives
    /// way by a unit at most, up or down, and its net by what was rounded.
    pub(super) fn credited_with(
        &self,
        lines: &mut [Line],
    ) -> Result<(Totals, Option<Credited>), Refusal> {
        let out_of_range = || Refusal::new(Code::AmountOutOfRange, "the total is too large");
        let (rounding, exponent) = (self.note_rounding(), self.currency.exponent());
        // By line it is this, or near it; by document it does not matter.
        totals::tax_lines(lines, TaxRounding::Line, exponent).ok_or_else(out_of_range)?;
        let known = self.credited_by_rate();
        let mut rates = self.rates(lines, known.as_deref())?;
        let above = |rate: &Rate| Some((rate.lines.rate, rate.rounded_above()?));
        let above: BTreeMap<Decimal, Decimal> = rates.iter().filter_map(above).collect();
        if known.is_some() && !above.is_empty() {
            take_off(lines, above);
            totals::tax_lines(lines, TaxRounding::Line, exponent).ok_or_else(out_of_range)?;
            rates = self.rates(lines, known.as_deref())?;
        }
        for rate in &mut rates {
            let tax = rate.tax(rounding, known.is_some(), exponent);
            rate.tax = tax.ok_or_else(out_of_range)?;
        }
        let left = self.total - self.amount_credited;
        if known.is_none() {
            give_way(lines, &mut rates, left, exponent);
        }
        let to_share = |of: Decimal| {
            let at = rates
                .binary_search_by(|rate| rate.lines.rate.cmp(&of))
                .ok()?;
            let rate = &rates[at];
            let by_line = rounding == TaxRounding::Line && rate.tax == rate.lines.tax;
            Some((!by_line).then_some(rate.tax))
        };
        let totals = totals::share_tax_of(lines, exponent, to_share)
            .and_then(|()| totals::totals(lines))
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
    fn credited_by_rate(&self) -> Option<Vec<CreditedRate>> {
        let kept = self.credited.as_ref().and_then(|c| c.by_rate.clone());
        kept.or_else(|| self.amount_credited.is_zero().then(Vec::new))
    }

    /// The note's rates, which the invoice must have, the lowest first.
    fn rates(&self, lines: &[Line], before: Option<&[CreditedRate]>) -> Result<Vec<Rate>, Refusal> {
        let exponent = self.currency.exponent();
        let charged = totals::taxes(&self.lines);
        // A share of a small discount is nothing on some lines, and on all of a small note: rounded
        // all the same.
        let shared = |of: &[Line]| of.iter().any(|line| !line.document_discount.is_zero());
        let of_invoice = roundings(&self.lines, shared(&self.lines), exponent);
        let of_note = roundings(lines, shared(&self.lines) || shared(lines), exponent);
        let rate = |lines: TaxTotal| {
            let of = lines.rate;
            let at = charged.binary_search_by(|charged| charged.rate.cmp(&of));
            let charged = at.ok().and_then(|at| charged.get(at).copied());
            let charged = charged.ok_or_else(|| {
                let rate = render_plain(of, 0);
                let detail = format!("nothing was charged at a tax rate of {rate}");
                Refusal::new(Code::CreditRateNotCharged, detail)
            })?;
            let before = before.unwrap_or_default();
            let at = before.binary_search_by(|before| before.rate.cmp(&of));
            let nothing = CreditedRate {
                rate: of,
                ..CreditedRate::default()
            };
            let before = at.ok().and_then(|at| before.get(at).copied());
            let before = before.unwrap_or(nothing);
            let count = |of_lines: &BTreeMap<Decimal, u32>| of_lines.get(&of).copied().unwrap_or(0);
            let rounded = count(&of_note);
            let halves = [count(&of_invoice), before.rounded, rounded].into_iter();
            let halves = halves.fold(0, u32::saturating_add);
            Ok(Rate {
                charged,
                before,
                lines,
                tax: Decimal::ZERO,
                rounded,
                slack: Decimal::new(i64::from(halves / 2), exponent),
            })
        };
        totals::taxes(lines).into_iter().map(rate).collect()
    }

    fn check_credit(
        &self,
        totals: &Totals,
        left: Decimal,
        rates: Option<&[Rate]>,
    ) -> Result<(), Refusal> {
        if totals.total <= Decimal::ZERO {
            let detail = "a credit note comes to more than nothing";
            return Err(Refusal::new(Code::CreditOfNothing, detail));
        }
        if totals.total > left {
            let (code, words) = (Code::CreditExceedsInvoice, "is not credited");
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
            return Err(Refusal::new(Code::CreditExceedsRate, detail));
        }
        Ok(())
    }
}

/// How often the nets of the lines were rounded, by rate, in halves of a smallest unit that they
/// can be off by: one for a price finer than the currency, one for a percentage, two for a share of
/// a discount on the whole document.
fn roundings(lines: &[Line], shared: bool, exponent: u32) -> BTreeMap<Decimal, u32> {
    let mut by_rate: BTreeMap<Decimal, u32> = BTreeMap::new();
    for line in lines {
        let gross = line.quantity.checked_mul(line.unit_price);
        let fine = gross.is_none_or(|gross| gross.normalize().scale() > exponent);
        let percent = line.discount_percent.is_some();
        let halves = u32::from(fine) + u32::from(percent) + 2 * u32::from(shared);
        let sum = by_rate.entry(line.tax_rate).or_default();
        *sum = sum.saturating_add(halves);
    }
    by_rate
}

/// Lowers the nets of the lines by what is said for each rate, the largest first, as a discount on
/// the whole note does.
fn take_off(lines: &mut [Line], mut amounts: BTreeMap<Decimal, Decimal>) {
    let mut lines: Vec<&mut Line> = lines.iter_mut().collect();
    lines.sort_by_key(|line| Reverse(line.net));
    for line in lines {
        let Some(amount) = amounts.get_mut(&line.tax_rate) else {
            continue;
        };
        let part = line.net.max(Decimal::ZERO).min(*amount);
        line.document_discount += part;
        line.net -= part;
        *amount -= part;
    }
}

/// Makes a note of unknown rates fit into what is left: by a smallest unit of the tax of each rate,
/// up or down, and then by what was rounded of its net.
fn give_way(lines: &mut [Line], rates: &mut [Rate], left: Decimal, exponent: u32) {
    let unit = Decimal::new(1, exponent);
    let total: Decimal = rates.iter().map(|of| of.lines.net + of.tax).sum();
    let mut excess = total - left;
    let taxed = rates.iter().filter(|of| of.tax >= unit).count();
    if excess < Decimal::ZERO && -excess <= unit * Decimal::from(taxed) {
        // All but what the roundings of the notes before have left: nobody else would ever take it.
        for rate in rates.iter_mut().filter(|of| of.tax >= unit) {
            if excess < Decimal::ZERO {
                rate.tax += unit;
                excess += unit;
            }
        }
        return;
    }
    let slack = |of: &Rate| of.slack.min(of.lines.net).max(Decimal::ZERO);
    let most = unit * Decimal::from(taxed) + rates.iter().map(slack).sum::<Decimal>();
    if excess <= Decimal::ZERO || excess > most {
        return;
    }
    for rate in rates.iter_mut().filter(|of| of.tax >= unit) {
        if excess > Decimal::ZERO {
            rate.tax -= unit;
            excess -= unit;
        }
    }
    let mut off = BTreeMap::new();
    for rate in rates {
        let part = slack(rate).min(excess);
        if part > Decimal::ZERO {
            off.insert(rate.lines.rate, part);
            rate.lines.net -= part;
            excess -= part;
        }
    }
    take_off(lines, off);
}

/// What was credited, with what these rates take; the lowest rate first.
fn sums(before: Vec<CreditedRate>, rates: &[Rate]) -> Vec<CreditedRate> {
    let taken = rates.iter().map(|rate| CreditedRate {
        rate: rate.lines.rate,
        net: rate.lines.net,
        tax: rate.tax,
        rounded: rate.rounded,
    });
    let mut all: Vec<CreditedRate> = before.into_iter().chain(taken).collect();
    all.sort_by_key(|of| of.rate);
    all.dedup_by(|next, of| {
        let same = next.rate == of.rate;
        if same {
            of.net += next.net;
            of.tax += next.tax;
            of.rounded = of.rounded.saturating_add(next.rounded);
        }
        same
    });
    all
}
