//! The HTTP API, as its client commands use it.

pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod query;
pub(crate) mod tenant;

use std::error::Error as _;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of single requests; the server itself gives up after 60 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// Bytes of an answer: 1,000 line errors need a fraction of it.
const MAX_ANSWER: usize = 8 << 20;

/// One API, one credential.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: String,
}

/// An answer whose status is an error.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Field>,
    #[serde(default)]
    request_id: String,
    /// Of an upload that ended early: the lines stored until then.
    pub(crate) created: Option<u64>,
    /// Of an upload: its first rejected lines.
    #[serde(default)]
    pub(crate) line_errors: Vec<LineError>,
}

#[derive(Debug, Deserialize)]
struct Field {
    field: String,
    detail: String,
}

/// A rejected line.
#[derive(Debug, Deserialize)]
pub(crate) struct LineError {
    pub(crate) line: u64,
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.detail.trim_end_matches('.');
        f.write_str(whole)?;
        for Field { field, detail } in &self.errors {
            let error = format!("{field}: {}", detail.trim_end_matches('.'));
            // The detail of a single field's problem is that field's error.
            if !whole.contains(&error) {
                write!(f, "; {error}")?;
            }
        }
        write!(f, " ({}, request {})", self.code, self.request_id)
    }
}

impl Client {
    pub(crate) fn new(url: &str, key: &str) -> Result<Self> {
        let invalid =
            |reason: &str| Error::new(format!("SHEAF_URL {url:?} is no URL of an API: {reason}"));
        let mut base: Url = url.parse().map_err(|_| invalid("it cannot be read"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid("it must begin with http:// or https://"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| {
                Error::new(format!("cannot make an HTTP client: {}", reason(&error)))
            })?;
        Ok(Self {
            http,
            base,
            key: key.to_owned(),
        })
    }

    /// The API's URL.
    pub(crate) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A POST with the credential; `path` has no leading slash.
    pub(crate) fn post(&self, path: &str) -> Result<RequestBuilder> {
        Ok(self.http.post(self.at(path)?).bearer_auth(&self.key))
    }

    /// Posts a document; the answer, or the problem in a sentence.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.post(path)?.timeout(REQUEST_TIMEOUT).json(body);
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        read(answer)
            .await?
            .map_err(|problem| Error::new(problem.to_string()))
    }

    /// Posts a document; the answer as it comes, or the problem in a sentence.
    pub(crate) async fn post_streamed(&self, path: &str, body: &Value) -> Result<Response> {
        let request = self.post(path)?.timeout(REQUEST_TIMEOUT).json(body);
        self.streamed(request).await
    }

    async fn streamed(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(match read(answer).await? {
            Ok(_) => Error::new("the server's answer is neither one nor a problem"),
            Err(problem) => Error::new(problem.to_string()),
        })
    }

    /// GETs what may take long; the answer as it comes, or the problem in a sentence.
    pub(crate) async fn get_streamed(&self, path: &str) -> Result<Response> {
        let request = self.http.get(self.at(path)?).bearer_auth(&self.key);
        self.streamed(request).await
    }

    /// GETs a URL that carries its own credential; none where it opens nothing (any more).
    pub(crate) async fn fetch(&self, url: &str) -> Result<Option<Response>> {
        let broken = |error: &reqwest::Error| {
            Error::new(format!("cannot fetch an object: {}", reason(error)))
        };
        let answer = self.http.get(url).send().await.map_err(|e| broken(&e))?;
        match answer.status().as_u16() {
            403 | 404 => Ok(None),
            _ => answer.error_for_status().map(Some).map_err(|e| broken(&e)),
        }
    }

    /// GETs a document; the answer, or the problem.
    pub(crate) async fn get(&self, path: &str) -> Result<std::result::Result<Value, Problem>> {
        let request = self.http.get(self.at(path)?).bearer_auth(&self.key);
        let answer = request.timeout(REQUEST_TIMEOUT).send().await;
        read(answer.map_err(|error| self.unreachable(&error))?).await
    }

    /// The status of a GET.
    #[cfg(feature = "local")]
    pub(crate) async fn status(&self, path: &str) -> Result<u16> {
        let request = self.http.get(self.at(path)?).bearer_auth(&self.key);
        let answer = request.timeout(REQUEST_TIMEOUT).send().await;
        Ok(answer
            .map_err(|error| self.unreachable(&error))?
            .status()
            .as_u16())
    }

    fn at(&self, path: &str) -> Result<Url> {
        self.base
            .join(path)
            .map_err(|error| Error::new(format!("{path:?} is no path: {error}")))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::new(format!(
            "cannot reach the API at {}: {}",
            self.url(),
            reason(error)
        ))
    }
}

/// Reads an answer: the document, or the problem.
pub(crate) async fn read(mut answer: Response) -> Result<std::result::Result<Value, Problem>> {
    let status = answer.status();
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                body.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => return Err(Error::new("the server's answer is too long")),
            Ok(None) => break,
            Err(error) => {
                return Err(Error::new(format!(
                    "the server's answer broke off: {}",
                    reason(&error)
                )));
            }
        }
    }
    let unexpected = || {
        Error::new(format!(
            "the server answered {status} with something that is no answer of Sheaf's"
        ))
    };
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map(Ok)
            .map_err(|_| unexpected());
    }
    serde_json::from_slice(&body)
        .map(Err)
        .map_err(|_| unexpected())
}

/// The innermost reason: the outer ones only say that a request failed.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.source().is_none() {
        "the request failed".to_owned()
    } else {
        innermost.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_names_each_field_once() {
        let said = |detail: &str, errors: Value| {
            let problem =
                json!({"code": "c", "detail": detail, "errors": errors, "request_id": "r"});
            let problem: Problem = serde_json::from_value(problem).unwrap();
            problem.to_string()
        };
        let name = json!({"field": "name", "detail": "must not be empty"});
        let id = json!({"field": "external_id", "detail": "is too long"});
        assert_eq!(
            said("name: must not be empty", json!([name])),
            "name: must not be empty (c, request r)"
        );
        assert_eq!(
            said("2 fields are not valid.", json!([name, id])),
            "2 fields are not valid; name: must not be empty; external_id: is too long (c, request \
            r)"
        );
    }
}
