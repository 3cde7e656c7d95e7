//! Single values that clients write as text, each with one spelling: dates, times, ids, counts.
//! Bodies, query strings and flags are all read by these, so that what one of them takes the others
//! take as well, and nothing gets in that a database column cannot hold.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, de};
use uuid::Uuid;

use crate::Code;
use crate::{FieldError, bounds};

/// A calendar date, `YYYY-MM-DD` (RFC 3339, full-date), from 1970-01-01 to 2199-12-31.
///
/// # Errors
/// With an empty field: `invalid_date`, `date_out_of_range`.
pub fn date(text: &str) -> Result<NaiveDate, FieldError> {
    let Some(date) = full_date(text) else {
        let detail = "must be a calendar date as YYYY-MM-DD";
        return Err(FieldError::new("", Code::InvalidDate, detail));
    };
    if date < bounds::min_date() || date > bounds::max_date() {
        let detail = "dates run from 1970-01-01 to 2199-12-31";
        return Err(FieldError::new("", Code::DateOutOfRange, detail));
    }
    Ok(date)
}

/// A moment as RFC 3339 has it, `2026-01-31T12:00:00Z`, from 1970 to 2199.
///
/// # Errors
/// With an empty field: `invalid_time`, `time_out_of_range`.
pub fn time(text: &str) -> Result<DateTime<Utc>, FieldError> {
    let invalid = || {
        let detail = "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z";
        FieldError::new("", Code::InvalidTime, detail)
    };
    // chrono also takes a space between the two parts.
    let (day, rest) = text.split_at_checked(10).ok_or_else(invalid)?;
    if full_date(day).is_none() || !rest.starts_with(['T', 't']) {
        return Err(invalid());
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| invalid())?;
    let time = time.to_utc();
    let day = time.date_naive();
    if day < bounds::min_date() || day > bounds::max_date() {
        let detail = "times run from 1970 to 2199";
        return Err(FieldError::new("", Code::TimeOutOfRange, detail));
    }
    Ok(time)
}

/// A UUID in its hyphenated form: braces, URNs and bare digits are other spellings of the same id.
///
/// # Errors
/// With an empty field: `invalid_uuid`.
pub fn uuid(text: &str) -> Result<Uuid, FieldError> {
    let id = (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten();
    id.ok_or_else(|| {
        FieldError::new(
            "",
            Code::InvalidUuid,
            "must be a UUID in its hyphenated form",
        )
    })
}

/// A whole number in decimal digits, without sign and leading zeros; `None` for anything else, and
/// for one that `T` cannot hold.
#[must_use]
pub fn count<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if !digits || padded {
        return None;
    }
    text.parse().ok()
}

/// `YYYY-MM-DD`, digit for digit.
fn full_date(text: &str) -> Option<NaiveDate> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |value, digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + u32::from(digit - b'0'))
        })
    };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)
}

/// For `#[serde(default, deserialize_with)]`: a date that may be absent or `null`.
///
/// # Errors
/// As [`date`]; the message ends with the code.
pub fn optional_date<'de, D>(deserializer: D) -> Result<Option<NaiveDate>, D::Error>
where
    D: Deserializer<'de>,
{
    optional(deserializer, date)
}

/// For `#[serde(default, deserialize_with)]`: a time that may be absent or `null`.
///
/// # Errors
/// As [`time`]; the message ends with the code.
pub fn optional_time<'de, D>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error>
where
    D: Deserializer<'de>,
{
    optional(deserializer, time)
}

/// For `#[serde(deserialize_with)]`: a UUID.
///
/// # Errors
/// As [`uuid`]; the message ends with the code.
pub fn required_uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(deserializer)?;
    uuid(&text).map_err(de::Error::custom)
}

fn optional<'de, T, D>(
    deserializer: D,
    read: fn(&str) -> Result<T, FieldError>,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| read(&text))
        .transpose()
        .map_err(de::Error::custom)
}

/// Code and detail of a mistake of this module in serde's words for it, which end with the code as
/// [`FieldError`] writes it: serde keeps of an error nothing but its text. What is no date, time or
/// id at all is, where structs are read, of the wrong type.
pub(crate) fn coded(message: &str) -> Option<(Code, &str)> {
    let (detail, rest) = message.rsplit_once(" (")?;
    let code = match rest.strip_suffix(')')? {
        "invalid_date" | "invalid_time" | "invalid_uuid" => Code::InvalidType,
        "date_out_of_range" => Code::DateOutOfRange,
        "time_out_of_range" => Code::TimeOutOfRange,
        _ => return None,
    };
    Some((code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(read: Result<T, FieldError>) -> &'static str {
        read.map_or_else(|error| error.code.as_str(), |_| "")
    }

    #[test]
    fn a_date_has_one_spelling_and_a_range() {
        for (text, expected) in [
            ("1970-01-01", ""),
            ("2199-12-31", ""),
            ("2024-02-29", ""),
            ("1969-12-31", "date_out_of_range"),
            ("2200-01-01", "date_out_of_range"),
            ("0000-01-01", "date_out_of_range"),
            ("9999-12-31", "date_out_of_range"),
            ("2023-02-29", "invalid_date"),
            ("2026-1-5", "invalid_date"),
            (" 2026-01-05", "invalid_date"),
            ("2026-01-05 ", "invalid_date"),
            ("+2026-01-05", "invalid_date"),
            ("-9999-01-01", "invalid_date"),
            ("-4713-01-01", "invalid_date"),
            ("+262142-01-01", "invalid_date"),
            ("20260105", "invalid_date"),
            ("2026-01-05T00:00:00Z", "invalid_date"),
            ("٢٠٢٦-٠١-٠٥", "invalid_date"),
            ("", "invalid_date"),
        ] {
            assert_eq!(code(date(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_time_has_one_form_and_a_range() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", ""),
            ("2199-12-31T23:59:59.999999Z", ""),
            ("2026-01-05T01:02:03+05:30", ""),
            ("1970-01-01T00:00:00+00:01", "time_out_of_range"),
            ("2200-01-01T00:00:00Z", "time_out_of_range"),
            ("2199-12-31T23:59:59-00:01", "time_out_of_range"),
            ("0000-01-01T00:00:00Z", "time_out_of_range"),
            ("9999-12-31T23:59:59Z", "time_out_of_range"),
            ("2026-01-05 01:02:03Z", "invalid_time"),
            ("2026-1-5T01:02:03Z", "invalid_time"),
            (" 2026-01-05T01:02:03Z", "invalid_time"),
            ("2026-01-05T01:02:03", "invalid_time"),
            ("+262142-01-01T00:00:00Z", "invalid_time"),
            ("-9999-01-01T00:00:00Z", "invalid_time"),
            ("2026-01-05", "invalid_time"),
            ("ääääääääää", "invalid_time"),
            ("", "invalid_time"),
        ] {
            assert_eq!(code(time(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn ids_and_counts_have_one_spelling() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad90";
        assert_eq!(code(uuid(id)), "");
        for other in [
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            id.replace('-', ""),
            format!(" {id}"),
            String::new(),
        ] {
            assert_eq!(code(uuid(&other)), "invalid_uuid", "{other}");
        }
        assert_eq!((count::<u8>("0"), count::<u8>("255")), (Some(0), Some(255)));
        for other in ["256", "+5", "-0", "05", "00", "", " 5", "5 ", "1e1", "٥"] {
            assert_eq!(count::<u8>(other), None, "{other}");
        }
    }

    #[test]
    fn serde_keeps_the_code() {
        let read = |json: &str| {
            let error = optional_date(&mut serde_json::Deserializer::from_str(json)).err();
            let message = error.map_or_else(String::new, |error| error.to_string());
            let message = message.split(" at line ").next().unwrap_or_default();
            coded(message).map(|(code, detail)| (code, detail.to_owned()))
        };
        let detail = "dates run from 1970-01-01 to 2199-12-31".to_owned();
        assert_eq!(read("\"9999-01-01\""), Some((Code::DateOutOfRange, detail)));
        let detail = "must be a calendar date as YYYY-MM-DD".to_owned();
        assert_eq!(read("\"2026-1-5\""), Some((Code::InvalidType, detail)));
        assert_eq!(read("5"), None);
        assert_eq!(read("null"), None);
    }
}
