//! Queries of a test's tenant.

use serde_json::Value;
use sheaf_archive::{Answer, Archive, Format, QueryError, QueryOptions, Tiers};
use sheaf_model::{Decimal, TenantId};

/// The whole answer.
pub async fn bytes(
    archive: &Archive,
    tenant: TenantId,
    sql: &str,
    options: QueryOptions,
    format: Format,
) -> Result<Vec<u8>, QueryError> {
    let run = archive.query(tenant, sql, options).await?;
    let mut answer = Answer::begin(run, format).await?;
    let mut out = Vec::new();
    while let Some(chunk) = answer.next().await {
        out.extend_from_slice(&chunk?);
    }
    Ok(out)
}

/// The answer as JSON.
pub async fn ask(
    archive: &Archive,
    tenant: TenantId,
    sql: &str,
    options: QueryOptions,
) -> Result<Value, QueryError> {
    let bytes = bytes(archive, tenant, sql, options, Format::Json).await?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

pub fn all_tiers() -> QueryOptions {
    QueryOptions {
        tiers: Tiers::All,
        ..QueryOptions::default()
    }
}

/// The rows of an answer as texts.
pub fn rows(answer: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| row.as_array().unwrap().iter().map(text).collect())
        .collect()
}

/// A decimal of an answer: a string, never a number.
pub fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

pub fn stat(answer: &Value, name: &str) -> u64 {
    answer["stats"][name].as_u64().unwrap()
}
