//! Counts and sums of a file: taken while it is written, and again while it is checked.

use std::collections::BTreeMap;

use sheaf_model::money::decimal::render_amount;
use sheaf_model::{Currency, Decimal, Invoice, Kind};
use sheaf_store::{ArchiveFile, ArchivedInvoice};

/// Sums of `total` in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindSums {
    /// Of invoices.
    pub invoice: Decimal,
    /// Of credit notes.
    pub credit_note: Decimal,
}

/// What a file holds, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows.
    pub invoices: u64,
    /// Lines of all rows.
    pub lines: u64,
    /// Payments of all rows.
    pub payments: u64,
    /// Events of all rows.
    pub events: u64,
    /// Sums of `total` by currency code.
    pub sums: BTreeMap<String, KindSums>,
}

impl Totals {
    /// Counts one row. False, with nothing counted, when a sum leaves the range of a decimal.
    #[must_use]
    pub fn add(&mut self, row: &ArchivedInvoice) -> bool {
        if !self.add_sum(&row.invoice) {
            return false;
        }
        self.invoices += 1;
        self.lines += row.invoice.lines.len() as u64;
        self.payments += row.invoice.payments.len() as u64;
        self.events += row.events.len() as u64;
        true
    }

    fn add_sum(&mut self, invoice: &Invoice) -> bool {
        let sums = self
            .sums
            .entry(invoice.currency.code().to_owned())
            .or_default();
        let sum = match invoice.kind {
            Kind::Invoice => &mut sums.invoice,
            Kind::CreditNote => &mut sums.credit_note,
        };
        match sum.checked_add(invoice.total) {
            Some(more) => {
                *sum = more;
                true
            }
            None => false,
        }
    }

    /// The sums as the catalog keeps them: `{"GBP": {"invoice": "1.00", "credit_note": "0.00"}}`.
    pub fn sums_json(&self) -> serde_json::Value {
        let sums = self.sums.iter().map(|(code, sums)| {
            let exponent = Currency::parse(code)
                .map_or(sheaf_model::bounds::AMOUNT_DECIMALS, Currency::exponent);
            let kinds = serde_json::json!({
                "invoice": render_amount(sums.invoice, exponent),
                "credit_note": render_amount(sums.credit_note, exponent),
            });
            (code.clone(), kinds)
        });
        serde_json::Value::Object(sums.collect())
    }

    /// Says how these totals differ from the catalog's figures of a file; none when they are equal.
    pub(crate) fn differs_from(&self, file: &ArchiveFile) -> Option<String> {
        let counts = [
            ("invoices", self.invoices, file.invoices),
            ("lines", self.lines, file.lines),
            ("payments", self.payments, file.payments),
            ("events", self.events, file.events),
        ];
        let different = counts
            .into_iter()
            .find(|(_, found, wanted)| i64::try_from(*found) != Ok(*wanted));
        if let Some((what, found, wanted)) = different {
            return Some(format!("{found} {what}, the catalog says {wanted}"));
        }
        let sums = self.sums_json();
        (sums != file.sums).then(|| format!("sums {sums}, the catalog says {}", file.sums))
    }

    /// Says how these totals differ from the expected ones; none when they are equal.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        let counts = [
            ("invoices", self.invoices, expected.invoices),
            ("lines", self.lines, expected.lines),
            ("payments", self.payments, expected.payments),
            ("events", self.events, expected.events),
        ];
        if let Some((what, found, wanted)) = counts.into_iter().find(|(_, a, b)| a != b) {
            return Some(format!("{found} {what}, expected {wanted}"));
        }
        let (found, wanted) = (self.sums_json(), expected.sums_json());
        (found != wanted).then(|| format!("sums {found}, expected {wanted}"))
    }
}
