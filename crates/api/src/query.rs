//! Query strings, read strictly: a misspelt filter must not silently widen a list.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use crate::error::ApiError;

/// Items of a page when the client does not say.
pub(crate) const DEFAULT_LIMIT: usize = 20;
/// Items of a page at most.
pub(crate) const MAX_LIMIT: usize = 100;

/// The parameters of a request, taken out one by one; [`Params::finish`] refuses what is left over.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes the query string.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(Self(Vec::new()));
        }
        let Query(pairs) = Query::try_from_uri(uri).map_err(|_| ApiError::InvalidParameter {
            field: "query".to_owned(),
            detail: "the query string cannot be decoded".to_owned(),
        })?;
        Ok(Self(pairs))
    }

    /// Takes the value of `name`.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
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
    pub(crate) fn parse<T: FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        self.take(name)?
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| invalid(name, &format!("must be {expected}")))
            })
            .transpose()
    }

    /// Takes all parameters that start with `prefix`, without it, in the order given.
    pub(crate) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
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
    pub(crate) fn limit(&mut self) -> Result<usize, ApiError> {
        let Some(text) = self.take("limit")? else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or(ApiError::LimitOutOfRange)
    }

    /// Refuses every parameter that nothing took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(ApiError::UnknownParameter(name)),
            None => Ok(()),
        }
    }
}

/// Refuses any parameter, on routes that take none.
pub(crate) fn none(uri: &Uri) -> Result<(), ApiError> {
    Params::of(uri)?.finish()
}

/// A parameter with a bad value.
pub(crate) fn invalid(field: &str, detail: &str) -> ApiError {
    ApiError::InvalidParameter {
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
        assert!(matches!(given.finish(), Err(ApiError::UnknownParameter(name)) if name == "staus"));
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_100() {
        for bad in ["0", "101", "1000", "-1", "ten", ""] {
            assert!(
                matches!(
                    params(&format!("limit={bad}")).limit(),
                    Err(ApiError::LimitOutOfRange)
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
}
