//! `sheaf archive query`, through the HTTP API.

use reqwest::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{QueryArgs, QueryFormat, QueryTier};
use crate::client::{Client, reason};
use crate::error::{Error, Result};
use crate::terminal::bar::Waiting;
use crate::terminal::{output, table};

/// Bytes of an answer that is drawn as a table.
const MAX_TABLE: usize = 32 << 20;
/// How a JSON answer ends that failed on its way. Inside of a text its quotes would be escaped.
const BROKEN: &[u8] = br#"],"error":{"#;
/// Bytes at the end of a JSON answer among which that is looked for.
const TAIL: usize = 4096;

/// Asks, and prints the answer.
pub(crate) async fn run(args: &QueryArgs) -> Result<()> {
    let client = Client::new(&args.api.url, args.api.api_key()?)?;
    let format = match args.format {
        QueryFormat::Table | QueryFormat::Json => "json",
        QueryFormat::Csv => "csv",
        QueryFormat::Arrow => "arrow",
    };
    let tier = match args.tier {
        QueryTier::Cold => "cold",
        QueryTier::All => "all",
    };
    let mut body = json!({"sql": args.sql, "format": format, "tier": tier});
    if let Some(rows) = args.max_rows {
        body["max_rows"] = json!(rows);
    }
    let waiting = Waiting::new("asking");
    let answer = client.post_streamed("v1/archive/query", &body).await?;
    drop(waiting);
    match args.format {
        QueryFormat::Table => drawn_table(answer).await,
        QueryFormat::Json => copy(answer, true).await,
        QueryFormat::Csv | QueryFormat::Arrow => copy(answer, false).await,
    }
}

fn broken(error: &reqwest::Error) -> Error {
    Error::new(format!("the server's answer broke off: {}", reason(error)))
}

/// Copies the answer to stdout as it comes.
async fn copy(mut answer: Response, json: bool) -> Result<()> {
    let mut tail: Vec<u8> = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| broken(&e))? {
        output::write(&chunk)?;
        tail.extend_from_slice(&chunk);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
    if !json {
        return output::write(b"");
    }
    output::write(b"\n")?;
    if tail.windows(BROKEN.len()).any(|window| window == BROKEN) {
        return Err(Error::new("the query failed on its way; see `error`"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Document {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    tier: Option<String>,
    as_of: Option<String>,
    stats: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    detail: String,
}

async fn drawn_table(mut answer: Response) -> Result<()> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| broken(&e))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_TABLE {
            let detail = "the answer is too long for a table; take --format json or csv";
            return Err(Error::new(detail));
        }
    }
    let document: Document = serde_json::from_slice(&body)
        .map_err(|_| Error::new("the server answered something that is no answer of Sheaf's"))?;
    for line in drawn(&document) {
        output::line(&line)?;
    }
    if let Some(Failure { code, detail }) = document.error {
        return Err(Error::new(format!("{detail} ({code})")));
    }
    let (tier, as_of) = (document.tier, document.as_of);
    if let (Some(tier), Some(as_of), Some(stats)) = (tier, as_of, document.stats) {
        output::note(&format!(
            "{} rows in {} ms; {} of {} files and {} bytes read; tier {tier} as of {as_of}",
            stats["rows"],
            stats["elapsed_ms"],
            stats["files_read"],
            stats["files_total"],
            stats["bytes_read"],
        ));
    }
    Ok(())
}

/// The table, line by line; numbers to the right.
fn drawn(document: &Document) -> Vec<String> {
    let cells: Vec<Vec<String>> = document
        .rows
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect();
    let columns: Vec<table::Column<'_>> = document
        .columns
        .iter()
        .map(|column| table::Column {
            name: &column.name,
            right: is_number(&column.r#type),
        })
        .collect();
    table::columns(&columns, &cells)
}

fn is_number(arrow_type: &str) -> bool {
    ["Int", "UInt", "Float", "Decimal"]
        .iter()
        .any(|kind| arrow_type.starts_with(kind))
}

/// A value on one line. EXPLAIN's plans keep their lines.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_nulls_are_empty() {
        let document = json!({
            "columns": [{"name": "currency", "type": "Utf8"}, {"name": "sum",
                "type": "Decimal128(28, 4)"}],
            "rows": [["GBP", "1.5000"], [null, "12.0000"]],
        });
        let document = serde_json::from_value(document).unwrap();
        assert_eq!(
            drawn(&document),
            [
                "currency      sum",
                "GBP        1.5000",
                "          12.0000"
            ]
        );
    }
}
