//! Invoices of which the caller decides whose they are, their dates and whether they are paid.

use chrono::{Days, NaiveDate};
use rand::Rng as _;
use uuid::Uuid;

use super::{CURRENCIES, Generator, METHODS, amount, put};

/// What the caller decides. The rest (customer, lines, method of payment) is the generator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Names the invoice: the same shape, seed and number make the same document, whatever was made
    /// before.
    pub number: u64,
    /// Index of the tenant, which decides the currency.
    pub tenant: u32,
    /// Its tenant, for a platform upload.
    pub tenant_id: Uuid,
    /// A UUIDv7.
    pub id: Uuid,
    /// The issue date; it is due 30 days later.
    pub issued: NaiveDate,
    /// The day on which it was paid in full (a credit note: paid out). `None`: it is open.
    pub paid_on: Option<NaiveDate>,
    /// A credit note instead of an invoice.
    pub credit_note: bool,
}

impl Generator {
    /// Appends the invoice as one JSON document for a platform upload, without a line break.
    /// Answers its total in minor units; see [`minor`] for the text. Of the shape, the skew,
    /// `tenants` and `history` are not looked at.
    pub fn write_dated(&mut self, dated: &Dated, out: &mut Vec<u8>) -> u64 {
        // A stream for each invoice: any of them can be made again without those before it.
        self.rng.set_stream(dated.number);
        self.rng.set_word_pos(0);
        let (number, seed) = (dated.number, self.shape.seed);
        let (tenant_id, id, issued) = (dated.tenant_id, dated.id, dated.issued);
        let kind = if dated.credit_note {
            "credit_note"
        } else {
            "invoice"
        };
        let currency = CURRENCIES[dated.tenant as usize % CURRENCIES.len()];
        put(
            out,
            format_args!(
                "{{\"tenant_id\":\"{tenant_id}\",\"id\":\"{id}\",\"external_id\":\"g{seed}-{number}\
                \",\"number\":\"R-{number:09}\","
            ),
        );
        put(
            out,
            format_args!("\"kind\":\"{kind}\",\"currency\":\"{currency}\""),
        );
        self.write_customer(out);
        let total = self.write_lines(true, out).0;
        let due = issued + Days::new(30);
        put(
            out,
            format_args!(",\"issue_date\":\"{issued}\",\"due_date\":\"{due}\""),
        );
        if let Some(paid_on) = dated.paid_on {
            let method = METHODS[self.rng.random_range(0..METHODS.len())];
            let paid = amount(total);
            put(
                out,
                format_args!(
                    ",\"payments\":[{{\"reference\":\"P-{number:09}\",\"amount\":\"{paid}\",\
                    \"paid_on\":\"{paid_on}\",\"method\":\"{method}\"}}]"
                ),
            );
        }
        let source = number % 7;
        put(
            out,
            format_args!(",\"metadata\":{{\"source\":\"loadtest\",\"batch\":{source}}}}}"),
        );
        total
    }
}

/// Minor units as an amount is written, with two decimals.
#[must_use]
pub fn minor(units: u64) -> String {
    amount(units)
}
