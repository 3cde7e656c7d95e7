//! Query strings, read strictly: a misspelt filter must not silently widen a list.

use std::str::FromStr;

use axum::http::Uri;
use chrono::NaiveDate;
use sheaf_model::plain_value;
use uuid::Uuid;

use crate::error::Error;

/// Items of a page when the client does not say.
pub const DEFAULT_LIMIT: usize = 20;
/// Items of a page at most.
pub const MAX_LIMIT: usize = 100;

/// The parameters of a request, taken out one by one; [`Params::finish`] refuses what is left over.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes the query string.
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let Some(query) = uri.query().filter(|query| !query.is_empty()) else {
            return Ok(Self(Vec::new()));
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name).ok_or_else(|| undecodable("query"))?;
            let value = decoded(value).ok_or_else(|| undecodable(&name))?;
            Ok((name, value))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Takes the value of `name`.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some(index) = self.0.iter().position(|(key, _)| key == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(index);
        if self.0.iter().any(|(key, _)| key == name) {
            return Err(invalid(name, "is given more than once"));
        }
        if value.contains('\0') {
            return Err(invalid(name, "must not contain NUL"));
        }
        Ok(Some(value))
    }

    /// Takes and parses the value of `name`.
    pub fn parse<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Error> {
        self.take(name)?
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| invalid(name, &format!("must be {expected}")))
            })
            .transpose()
    }

    /// Takes a date.
    pub fn date(&mut self, name: &str) -> Result<Option<NaiveDate>, Error> {
        self.read(name, |text| {
            plain_value::date(text).map_err(|error| error.detail)
        })
    }

    /// Takes an id.
    pub fn uuid(&mut self, name: &str) -> Result<Option<Uuid>, Error> {
        self.read(name, |text| {
            plain_value::uuid(text).map_err(|error| error.detail)
        })
    }

    /// Takes a whole number in digits: `+5` and `05` are none.
    pub fn count<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Error> {
        let mistake = || format!("must be {expected}");
        self.read(name, |text| plain_value::count(text).ok_or_else(mistake))
    }

    fn read<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        let value = self.take(name)?;
        let read = |text: String| read(&text).map_err(|detail| invalid(name, &detail));
        value.map(read).transpose()
    }

    /// Takes all parameters that start with `prefix`, without it, in the order given.
    pub fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<Vec<_>, _>(|(key, _)| key.starts_with(prefix));
        self.0 = rest;
        taken
            .into_iter()
            .map(|(key, value)| (key[prefix.len()..].to_owned(), value))
            .collect()
    }

    /// Takes `limit`: 1 to 100, 20 when not given.
    pub fn limit(&mut self) -> Result<usize, Error> {
        let Some(text) = self.take("limit")? else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = plain_value::count(&text).filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or(Error::LimitOutOfRange)
    }

    /// Refuses every parameter that nothing took.
    pub fn finish(self) -> Result<(), Error> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Error::UnknownParameter(name)),
            None => Ok(()),
        }
    }
}

/// Refuses any parameter, on routes that take none.
pub fn none(uri: &Uri) -> Result<(), Error> {
    Params::of(uri)?.finish()
}

/// The text of `application/x-www-form-urlencoded`; `None` for what is no UTF-8, or an escape that
/// is none. Lenient decoders put U+FFFD in its place, and a filter would look for something that
/// nobody asked for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn undecodable(field: &str) -> Error {
    invalid(field, "is not percent-encoded UTF-8")
}

/// A parameter with a bad value.
pub fn invalid(field: &str, detail: &str) -> Error {
    Error::InvalidParameter {
        field: field.to_owned(),
        detail: format!("{field} {detail}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn what_nothing_took_is_refused() {
        let mut given = params("limit=5&staus=paid");
        assert_eq!(given.limit().unwrap(), 5);
        assert!(matches!(given.finish(), Err(Error::UnknownParameter(name)) if name == "staus"));
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_100() {
        for bad in [
            "0", "101", "1000", "-1", "ten", "", "%2B5", "+5", "05", "5.0", "%205",
        ] {
            assert!(
                matches!(
                    params(&format!("limit={bad}")).limit(),
                    Err(Error::LimitOutOfRange)
                ),
                "{bad}"
            );
        }
        assert_eq!(params("").limit().unwrap(), 20);
    }

    #[test]
    fn values_are_decoded_once_and_taken_once() {
        let mut given = params("number=A%2F1+b&metadata.k=v&metadata.j=%25");
        assert_eq!(given.take("number").unwrap().as_deref(), Some("A/1 b"));
        assert_eq!(
            given.take_prefixed("metadata."),
            [("k".into(), "v".into()), ("j".into(), "%".into())]
        );
        given.finish().unwrap();
        assert!(params("a=1&a=2").take("a").is_err());
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        let of = |query: &str| Params::of(&format!("/x?{query}").parse().unwrap());
        for bad in [
            "number=%FF",
            "number=a%C3",
            "number=%",
            "number=%4",
            "number=%zz",
            "%FF=1",
        ] {
            assert!(
                matches!(of(bad), Err(Error::InvalidParameter { .. })),
                "{bad}"
            );
        }
        let mut given = of("&&number=%C3%a4&flag&").unwrap();
        assert_eq!(given.take("number").unwrap().as_deref(), Some("ä"));
        assert_eq!(given.take("flag").unwrap().as_deref(), Some(""));
        given.finish().unwrap();
    }

    #[test]
    fn dates_ids_and_numbers_have_one_spelling() {
        for bad in ["2026-1-5", "%202026-01-05", "-9999-01-01", "2200-01-01", ""] {
            assert!(params(&format!("d={bad}")).date("d").is_err(), "{bad}");
        }
        assert!(params("d=2026-01-05").date("d").unwrap().is_some());
        assert!(
            params("i=%7B0190163d-8694-739b-aea5-966c26f8ad90%7D")
                .uuid("i")
                .is_err()
        );
        assert!(params("n=%2B5").count::<u64>("n", "a number").is_err());
        assert_eq!(
            params("n=5").count::<u64>("n", "a number").unwrap(),
            Some(5)
        );
        assert_eq!(params("").date("d").unwrap(), None);
    }
}
