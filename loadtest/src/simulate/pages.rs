//! Lists, page by page.

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::SimulateError;
use crate::load::http::{AnyBody, Connection, whole};

/// Gets every entry of a list of a tenant, a page of 100 at a time. `path` ends with `?` or `&`.
pub(super) async fn walk(
    connection: &mut Connection<AnyBody>,
    path: &str,
    api_key: &str,
    mut each: impl FnMut(&Value),
) -> Result<(), SimulateError> {
    let mut cursor = String::new();
    loop {
        let page = format!("{path}limit=100{cursor}");
        let (status, answer) = get(connection, &page, api_key).await?;
        let data = answer.get("data").and_then(Value::as_array);
        let Some(data) = data.filter(|_| status == StatusCode::OK) else {
            let what = format!("GET {page} answered {status}");
            return Err(SimulateError::Refused(what, answer.to_string()));
        };
        data.iter().for_each(&mut each);
        match answer.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(()),
        }
    }
}

/// Gets one document.
pub(super) async fn get(
    connection: &mut Connection<AnyBody>,
    path: &str,
    api_key: &str,
) -> Result<(StatusCode, Value), SimulateError> {
    let answered = connection.json(Method::GET, path, api_key, "application/json", whole(""));
    Ok(answered.await?)
}
