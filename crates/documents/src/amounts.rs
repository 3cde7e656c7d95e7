//! An invoice's lines summed by tax rate.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sheaf_model::{Invoice, Line};

/// What the lines of one tax rate come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateSum {
    /// A fraction.
    pub(crate) rate: Decimal,
    /// Sum of nets, the taxable amount.
    pub(crate) net: Decimal,
    /// Sum of taxes.
    pub(crate) tax: Decimal,
    /// The part of the document's discount that these lines bear.
    pub(crate) document_discount: Decimal,
}

/// One sum a rate, the highest rate first.
pub(crate) fn by_rate(invoice: &Invoice) -> Vec<RateSum> {
    let mut sums: BTreeMap<Decimal, RateSum> = BTreeMap::new();
    for line in &invoice.lines {
        let rate = line.tax_rate.normalize();
        let sum = sums.entry(rate).or_insert(RateSum {
            rate,
            ..RateSum::default()
        });
        sum.net += line.net;
        sum.tax += line.tax;
        sum.document_discount += line.document_discount;
    }
    sums.into_values().rev().collect()
}

/// The line's net before the discount on the whole document: what the line itself comes to.
pub(crate) fn line_net(line: &Line) -> Decimal {
    line.net + line.document_discount
}
