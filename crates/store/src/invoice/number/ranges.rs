//! Which numbers a file of the archive may have, in a few words: enough for a series to leave
//! nearly all files unread.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Digits at the end of a number that count; what is before them is its prefix.
const DIGITS: usize = 18;
/// Prefixes of one file that are told apart. A file with more may have any number.
const PREFIXES: usize = 16;

/// A number's prefix and what its last digits come to; none where it does not end in a digit, as
/// all numbers of series do.
#[must_use]
pub fn number_parts(number: &str) -> Option<(&str, i64)> {
    let digits = number.bytes().rev().take(DIGITS);
    let count = digits.take_while(u8::is_ascii_digit).count();
    let (prefix, digits) = number.split_at_checked(number.len() - count)?;
    Some((prefix, digits.parse().ok()?))
}

/// The smallest and the largest number of each prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberRanges {
    ranges: BTreeMap<String, (i64, i64)>,
    too_many: bool,
}

impl NumberRanges {
    /// One more number.
    pub fn add(&mut self, number: &str) {
        let Some((prefix, value)) = number_parts(number) else {
            return;
        };
        if let Some((min, max)) = self.ranges.get_mut(prefix) {
            (*min, *max) = (value.min(*min), value.max(*max));
        } else if self.ranges.len() < PREFIXES {
            self.ranges.insert(prefix.to_owned(), (value, value));
        } else {
            self.too_many = true;
        }
    }

    /// As the catalog keeps it: `{"R-": [1, 4000]}`, or `true` where any number may be there.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if self.too_many {
            return json!(true);
        }
        let range =
            |(prefix, (min, max)): (&String, &(i64, i64))| (prefix.clone(), json!([min, max]));
        Value::Object(self.ranges.iter().map(range).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_prefix_and_its_last_digits() {
        for (number, parts) in [
            ("R-000017", Some(("R-", 17))),
            ("INV-2025-000001", Some(("INV-2025-", 1))),
            ("2025", Some(("", 2025))),
            ("é7", Some(("é", 7))),
            (
                "R1234567890123456789",
                Some(("R1", 234_567_890_123_456_789)),
            ),
            ("7-A", None),
            ("", None),
        ] {
            assert_eq!(number_parts(number), parts, "{number}");
        }
    }

    #[test]
    fn ranges_are_told_by_prefix_until_there_are_too_many() {
        let mut ranges = NumberRanges::default();
        for number in ["R-7", "R-0012", "none", "S1", "R-9"] {
            ranges.add(number);
        }
        assert_eq!(ranges.to_json(), json!({"R-": [7, 12], "S": [1, 1]}));
        for n in 0..PREFIXES {
            ranges.add(&format!("{}-1", "x".repeat(n + 1)));
        }
        assert_eq!(ranges.to_json(), json!(true));
    }
}
