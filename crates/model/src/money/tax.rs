//! How tax is rounded, and what credit notes took of an invoice by rate.

use std::fmt::Write as _;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::Code;
use crate::FieldError;
use crate::money::decimal;
use crate::money::decimal::write_decimal;

/// How a document's tax is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaxRounding {
    /// Once a rate, on the sum of its nets (EN 16931, BR-CO-17).
    Document,
    /// Each line by itself.
    Line,
}

impl TaxRounding {
    /// The name in JSON and in both tiers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Line => "line",
        }
    }
}

impl FromStr for TaxRounding {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        [Self::Document, Self::Line]
            .into_iter()
            .find(|rounding| rounding.as_str() == text)
            .ok_or_else(|| {
                let detail = "must be document or line";
                FieldError::new("tax_rounding", Code::InvalidTaxRounding, detail)
            })
    }
}

/// What the credit notes of an invoice took of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credited {
    /// Net and tax by rate, the lowest rate first. None where a credit note came before this was
    /// kept.
    pub by_rate: Option<Vec<CreditedRate>>,
    /// Money that was paid out on the credit notes.
    pub paid_out: Decimal,
}

/// What credit notes took at one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditedRate {
    /// A fraction: 0.2 is 20 %.
    pub rate: Decimal,
    /// Net credited.
    pub net: Decimal,
    /// Tax credited.
    pub tax: Decimal,
    /// How often the nets of the notes' lines were rounded, in halves of a smallest unit that they
    /// can be off by.
    pub rounded: u32,
}

impl Credited {
    /// As JSON in the normal form of `jsonb`, so that both tiers hold the same text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"rates\": ");
        match &self.by_rate {
            None => out.push_str("null"),
            Some(rates) => {
                out.push('[');
                for (index, of) in rates.iter().enumerate() {
                    out.push_str(if index > 0 { ", {" } else { "{" });
                    member(&mut out, "net", of.net);
                    out.push_str(", ");
                    member(&mut out, "tax", of.tax);
                    out.push_str(", ");
                    member(&mut out, "rate", of.rate);
                    // Absent before it was counted, and where there is nothing to count.
                    if of.rounded > 0 {
                        // Writing into a string cannot fail.
                        let _ = write!(out, ", \"rounded\": {}", of.rounded);
                    }
                    out.push('}');
                }
                out.push(']');
            }
        }
        out.push_str(", ");
        member(&mut out, "paid_out", self.paid_out);
        out.push('}');
        out
    }

    /// Reads what [`Credited::to_json`] wrote; `None` if it is something else.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let by_rate = stored.rates.map(|rates| {
            let read = |of: StoredRate| {
                Some(CreditedRate {
                    rate: number(&of.rate)?,
                    net: number(&of.net)?,
                    tax: number(&of.tax)?,
                    rounded: of.rounded,
                })
            };
            rates.into_iter().map(read).collect::<Option<Vec<_>>>()
        });
        let by_rate = match by_rate {
            None => None,
            Some(read) => Some(read?),
        };
        let paid_out = number(&stored.paid_out)?;
        Some(Self { by_rate, paid_out })
    }
}

#[derive(Deserialize)]
struct Stored {
    rates: Option<Vec<StoredRate>>,
    paid_out: String,
}

#[derive(Deserialize)]
struct StoredRate {
    net: String,
    tax: String,
    rate: String,
    #[serde(default)]
    rounded: u32,
}

fn member(out: &mut String, name: &str, value: Decimal) {
    out.push('"');
    out.push_str(name);
    out.push_str("\": \"");
    write_decimal(out, value, 0);
    out.push('"');
}

fn number(text: &str) -> Option<Decimal> {
    decimal::read_exact(&format!("\"{text}\"")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_credited_reads_back() {
        let of = |rate, net, tax, rounded| CreditedRate {
            rate: Decimal::new(rate, 2),
            net: Decimal::new(net, 2),
            tax: Decimal::new(tax, 2),
            rounded,
        };
        let told = Credited {
            by_rate: Some(vec![of(7, -3000, -210, 0), of(19, 3335, 634, 3)]),
            paid_out: Decimal::new(500, 2),
        };
        let text = concat!(
            r#"{"rates": [{"net": "-30", "tax": "-2.1", "rate": "0.07"}, "#,
            r#"{"net": "33.35", "tax": "6.34", "rate": "0.19", "rounded": 3}], "paid_out": "5"}"#
        );
        assert_eq!(told.to_json(), text);
        assert_eq!(Credited::from_json(text), Some(told));
        let unknown = Credited::default();
        assert_eq!(unknown.to_json(), r#"{"rates": null, "paid_out": "0"}"#);
        assert_eq!(Credited::from_json(&unknown.to_json()), Some(unknown));
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"rates": null, "paid_out": "x"}"#,
        ] {
            assert_eq!(Credited::from_json(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_read_back() {
        for rounding in [TaxRounding::Document, TaxRounding::Line] {
            assert_eq!(rounding.as_str().parse(), Ok(rounding));
        }
        let refused = "lines".parse::<TaxRounding>().unwrap_err();
        assert_eq!(refused.code, "invalid_tax_rounding");
    }
}
