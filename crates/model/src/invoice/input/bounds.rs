//! What a number of an invoice may be: its size, its decimals, and a rule of its own.

use super::check::{Bounds, Rule};
use crate::{Code, Currency, bounds};

/// The total needs no rule of its own: it must be the sum.
pub(super) const ANY: Rule = (|_| true, Code::Invalid, "");

/// DECIMAL(18,6), and a rule.
pub(super) const fn fine(rule: Rule) -> Bounds {
    Bounds {
        below: bounds::FINE_BOUND,
        decimals: bounds::FINE_DECIMALS,
        rule,
    }
}

/// DECIMAL(18,4) in the decimals of the currency, and a rule. An unknown currency is one mistake,
/// and must not make further ones of its amounts.
pub(super) fn amount(currency: Option<Currency>, rule: Rule) -> Bounds {
    let decimals = currency.map_or(bounds::AMOUNT_DECIMALS, Currency::exponent);
    Bounds {
        below: bounds::AMOUNT_BOUND,
        decimals,
        rule,
    }
}
