//! Tenants and API keys to send load for.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::load::generate::tenant_external_id;
use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};

/// Tenants that one run makes at most.
pub const MAX_TENANTS: u32 = 100_000;

/// A tenant to send load for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// A key of it, with the default role.
    pub api_key: String,
}

/// Makes `count` tenants with a key each. With `prefix`, the n-th gets the external id that
/// [`tenant_external_id`] says, behind the prefix.
///
/// # Errors
/// As [`Connection::exchange`]; [`HttpError::Answer`] when the server refuses.
pub async fn tenants(
    server: &Server,
    admin_key: &str,
    count: u32,
    prefix: &str,
) -> Result<Vec<Tenant>, HttpError> {
    let mut connection = Connection::open(server).await?;
    let mut made = Vec::new();
    for index in 0..count.min(MAX_TENANTS) {
        let name = format!("{prefix}{}", tenant_external_id(index));
        let body = json!({ "name": name, "external_id": name });
        let tenant = post(&mut connection, "/v1/tenants", admin_key, &body).await?;
        let id = text(&tenant, "id")?;
        let path = format!("/v1/tenants/{id}/api-keys");
        let key = post(
            &mut connection,
            &path,
            admin_key,
            &json!({ "name": "loadtest" }),
        )
        .await?;
        made.push(Tenant {
            id: Uuid::parse_str(id).map_err(|error| HttpError::Answer(error.to_string()))?,
            api_key: text(&key, "api_key")?.to_owned(),
        });
    }
    Ok(made)
}

async fn post(
    connection: &mut Connection<AnyBody>,
    path: &str,
    key: &str,
    body: &Value,
) -> Result<Value, HttpError> {
    let body = whole(body.to_string());
    let (status, answer) = connection
        .json(Method::POST, path, key, "application/json", body)
        .await?;
    if status == StatusCode::CREATED {
        Ok(answer)
    } else {
        Err(HttpError::Answer(format!(
            "POST {path} answered {status}: {answer}"
        )))
    }
}

fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str, HttpError> {
    let found = answer.get(field).and_then(Value::as_str);
    found.ok_or_else(|| HttpError::Answer(format!("an answer lacks `{field}`")))
}
