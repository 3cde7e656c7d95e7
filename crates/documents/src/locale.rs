//! Numbers, amounts and dates in the tenant's language.
//!
//! From CLDR 46 (`numbers.json`, `ca-gregorian.json`): separators of the `latn` digits,
//! `minimumGroupingDigits`, the percent pattern, and the `yMd` skeleton; English has `yMMMd`
//! instead, since its speakers disagree on what 03/04 is. A table of eight languages, not ICU: that
//! would be some megabytes of data for these forty strings.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sheaf_model::Currency;
use sheaf_model::money::decimal;

/// The language of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Dutch.
    Nl,
    /// Polish.
    Pl,
    /// Arabic.
    Ar,
    /// Hebrew.
    He,
}

/// How a language writes numbers and dates.
#[derive(Debug)]
struct Format {
    group: &'static str,
    decimal: &'static str,
    /// Digits before the first separator that are needed for there to be one.
    min_grouping: usize,
    minus: &'static str,
    percent: &'static str,
    /// Of chrono.
    date: &'static str,
}

#[rustfmt::skip]
const fn format(group: &'static str, decimal: &'static str, min_grouping: usize,
    percent: &'static str,
    date: &'static str) -> Format {
    Format { group, decimal, min_grouping, minus: "-", percent, date }
}

const EN: Format = format(",", ".", 1, "%", "%b %-d, %Y");
const DE: Format = format(".", ",", 1, "\u{a0}%", "%-d.%-m.%Y");
const FR: Format = format("\u{202f}", ",", 1, "\u{202f}%", "%d/%m/%Y");
const ES: Format = format(".", ",", 2, "\u{a0}%", "%-d/%-m/%Y");
const NL: Format = format(".", ",", 1, "%", "%-d-%-m-%Y");
const PL: Format = format("\u{a0}", ",", 2, "%", "%-d.%m.%Y");
/// The marks keep the parts of a date, and a sign and its number, in their order between letters
/// from right to left.
const AR: Format = Format {
    minus: "\u{200e}-",
    ..format(
        ",",
        ".",
        1,
        "\u{200e}%\u{200e}",
        "%-d\u{200f}/%-m\u{200f}/%Y",
    )
};
const HE: Format = Format {
    minus: "\u{200e}-",
    ..format(",", ".", 1, "%", "%-d.%-m.%Y")
};

impl Language {
    /// Every language.
    pub const ALL: [Self; 8] = [
        Self::En,
        Self::De,
        Self::Fr,
        Self::Es,
        Self::Nl,
        Self::Pl,
        Self::Ar,
        Self::He,
    ];

    /// ISO 639-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::Nl => "nl",
            Self::Pl => "pl",
            Self::Ar => "ar",
            Self::He => "he",
        }
    }

    /// The language of a code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Whether pages run from right to left.
    pub(crate) fn is_rtl(self) -> bool {
        matches!(self, Self::Ar | Self::He)
    }

    fn format(self) -> &'static Format {
        match self {
            Self::En => &EN,
            Self::De => &DE,
            Self::Fr => &FR,
            Self::Es => &ES,
            Self::Nl => &NL,
            Self::Pl => &PL,
            Self::Ar => &AR,
            Self::He => &HE,
        }
    }

    /// A number with at least `min_decimals` decimals: `1.234,5`.
    pub(crate) fn number(self, value: Decimal, min_decimals: u32) -> String {
        self.localize(&decimal::render_plain(value, min_decimals))
    }

    /// An amount with the decimals of its currency, without the code.
    pub(crate) fn amount(self, value: Decimal, currency: Currency) -> String {
        self.localize(&decimal::render_amount(value, currency.exponent()))
    }

    /// A fraction as percent: 0.2 is `20 %`.
    pub(crate) fn percent(self, rate: Decimal) -> String {
        let number = self.number(rate * Decimal::ONE_HUNDRED, 0);
        format!("{number}{}", self.format().percent)
    }

    /// A date, its year with four digits.
    pub(crate) fn date(self, date: NaiveDate) -> String {
        date.format(self.format().date).to_string()
    }

    /// Puts this language's separators into `-1234.5`.
    fn localize(self, plain: &str) -> String {
        let format = self.format();
        let (sign, digits) = match plain.strip_prefix('-') {
            Some(digits) => (format.minus, digits),
            None => ("", plain),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let mut out = String::with_capacity(2 * plain.len());
        out.push_str(sign);
        let grouped = whole.len() >= 3 + format.min_grouping;
        for (index, digit) in whole.chars().enumerate() {
            if grouped && index > 0 && (whole.len() - index).is_multiple_of(3) {
                out.push_str(format.group);
            }
            out.push(digit);
        }
        if !decimals.is_empty() {
            out.push_str(format.decimal);
            out.push_str(decimals);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(language: Language, text: &str) -> String {
        language.number(text.parse().unwrap(), 2)
    }

    #[test]
    fn numbers_have_each_languages_separators() {
        let value = "-1234567.5";
        assert_eq!(number(Language::En, value), "-1,234,567.50");
        assert_eq!(number(Language::De, value), "-1.234.567,50");
        assert_eq!(number(Language::Fr, value), "-1\u{202f}234\u{202f}567,50");
        assert_eq!(number(Language::Pl, value), "-1\u{a0}234\u{a0}567,50");
        assert_eq!(number(Language::He, value), "\u{200e}-1,234,567.50");
        // Spanish and Polish do not group four digits.
        assert_eq!(number(Language::Es, "1234"), "1234,00");
        assert_eq!(number(Language::Es, "12345"), "12.345,00");
        assert_eq!(number(Language::De, "1234"), "1.234,00");
        assert_eq!(number(Language::En, "123"), "123.00");
    }

    #[test]
    fn amounts_have_the_currencys_decimals() {
        let value = Decimal::new(1_234_500, 3);
        let amount = |code: &str| Language::De.amount(value, Currency::parse(code).unwrap());
        assert_eq!(amount("EUR"), "1.234,50");
        assert_eq!(amount("BHD"), "1.234,500");
        // Half up.
        assert_eq!(amount("JPY"), "1.235");
    }

    #[test]
    fn dates_and_percents() {
        let date = NaiveDate::from_ymd_opt(2026, 3, 4).unwrap();
        let dates: Vec<String> = Language::ALL.iter().map(|l| l.date(date)).collect();
        let expected = [
            "Mar 4, 2026",
            "4.3.2026",
            "04/03/2026",
            "4/3/2026",
            "4-3-2026",
            "4.03.2026",
            "4\u{200f}/3\u{200f}/2026",
            "4.3.2026",
        ];
        assert_eq!(dates, expected);
        assert_eq!(Language::De.percent("0.055".parse().unwrap()), "5,5\u{a0}%");
        assert_eq!(Language::En.percent("0.2".parse().unwrap()), "20%");
    }

    #[test]
    fn codes_are_read_back() {
        for language in Language::ALL {
            assert_eq!(Language::parse(language.code()), Some(language));
        }
        assert_eq!(Language::parse("xx"), None);
    }
}
