//! `sheaf ingest`: a file into the bulk endpoint, streamed.

use std::io::Cursor;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::TryStreamExt;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use crate::cli::{IngestArgs, Output};
use crate::client::{self, Client, Problem};
use crate::error::{Doing, Error, Result};
use crate::terminal::bar::{Bar, Unit};
use crate::terminal::output;

/// Bytes read at once: all that is ever held of the file, but for what the connection buffers.
const CHUNK: usize = 128 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Rejected lines that are said on stderr; the JSON has more.
const LINES_SAID: usize = 10;

/// What is sent.
struct Source {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    bytes: Option<u64>,
    gzip: bool,
}

/// Uploads and prints the summary; fails when lines were rejected.
pub(crate) async fn run(args: &IngestArgs) -> Result<ExitCode> {
    let key = if args.platform {
        args.api.admin_key()?
    } else {
        args.api.api_key()?
    };
    let client = Client::new(&args.api.url, key)?;
    let source = open(&args.file).await?;
    // A server that refuses an upload closes the connection under it, and its answer can get lost:
    // the credential is tried before the file is.
    let first = if args.platform {
        "v1/tenants?limit=1"
    } else {
        "v1/invoices?limit=1&tier=hot"
    };
    if let Err(problem) = client.get(first).await? {
        return Err(refused(&problem));
    }
    let mut request = client
        .post(&path(args))?
        .header(CONTENT_TYPE, "application/x-ndjson");
    if source.gzip {
        // As it is: the server unpacks.
        request = request.header(CONTENT_ENCODING, "gzip");
    }
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let bar = Arc::new(Bar::new(Unit::Bytes, source.bytes));
    let counting = Arc::clone(&bar);
    let stream = ReaderStream::with_capacity(source.reader, CHUNK)
        .inspect_ok(move |chunk| counting.add(chunk.len() as u64));
    let answer = request
        .body(reqwest::Body::wrap_stream(stream))
        .send()
        .await;
    bar.finish();
    let answer = answer.map_err(|error| lost(&client, &error))?;
    match client::read(answer).await? {
        Ok(summary) => report(&summary, args.output.output),
        Err(problem) => Err(refused(&problem)),
    }
}

fn path(args: &IngestArgs) -> String {
    let mut path = if args.platform {
        "v1/platform/invoices/bulk"
    } else {
        "v1/invoices/bulk"
    }
    .to_owned();
    let options = [
        ("create_tenants", args.create_tenants),
        ("atomic", args.atomic),
        ("restore", args.restore),
    ];
    let rounding = args.tax_rounding.as_ref();
    let options: Vec<_> = options
        .into_iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| format!("{name}=true"))
        .chain(rounding.map(|rounding| format!("tax_rounding={rounding}")))
        .collect();
    if !options.is_empty() {
        path = format!("{path}?{}", options.join("&"));
    }
    path
}

async fn open(path: &Path) -> Result<Source> {
    if path == Path::new("-") {
        return sniff(tokio::io::stdin(), None)
            .await
            .doing(|| "read stdin".to_owned());
    }
    let opened = async {
        let file = tokio::fs::File::open(path).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        // A pipe has no length.
        sniff(file, metadata.is_file().then_some(metadata.len())).await
    };
    opened.await.doing(|| format!("read {}", path.display()))
}

/// Looks at the first bytes and puts them back.
async fn sniff(
    mut reader: impl AsyncRead + Send + Sync + Unpin + 'static,
    bytes: Option<u64>,
) -> std::io::Result<Source> {
    let mut head = Vec::with_capacity(GZIP_MAGIC.len());
    (&mut reader)
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut head)
        .await?;
    let gzip = head == GZIP_MAGIC;
    Ok(Source {
        reader: Box::new(Cursor::new(head).chain(reader)),
        bytes,
        gzip,
    })
}

fn report(summary: &Value, format: Option<Output>) -> Result<ExitCode> {
    output::print(summary, format)?;
    let Some(rejected) = summary["rejected"].as_u64() else {
        return Err(Error::new("the server's answer is no summary"));
    };
    if rejected == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    output::note(&format!(
        "{rejected} of {} lines were rejected",
        summary["received"]
    ));
    Ok(ExitCode::FAILURE)
}

fn refused(problem: &Problem) -> Error {
    for error in problem.line_errors.iter().take(LINES_SAID) {
        output::note(&format!(
            "line {}: {} ({})",
            error.line, error.detail, error.code
        ));
    }
    let stored = problem.created.filter(|created| *created > 0);
    let stored = stored.map_or_else(String::new, |created| {
        format!("; {created} invoices were stored before that")
    });
    Error::new(format!("the upload was refused: {problem}{stored}"))
}

fn lost(client: &Client, error: &reqwest::Error) -> Error {
    let (url, reason) = (client.url(), client::reason(error));
    if error.is_connect() {
        return Error::new(format!("cannot reach the API at {url}: {reason}"));
    }
    Error::new(format!(
        "the upload to {url} broke off ({reason}): whole invoices only were stored, and sending it \
        again is safe for \
         lines with an external_id, and for all lines with the same --idempotency-key: those that \
         are stored count as \
         duplicates"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn read(content: &'static [u8]) -> (bool, Vec<u8>) {
        let mut source = sniff(content, None).await.unwrap();
        let mut all = Vec::new();
        source.reader.read_to_end(&mut all).await.unwrap();
        (source.gzip, all)
    }

    #[tokio::test]
    async fn gzip_is_known_by_its_first_bytes_and_nothing_is_lost() {
        assert_eq!(
            read(b"\x1f\x8b\x08rest").await,
            (true, b"\x1f\x8b\x08rest".to_vec())
        );
        assert_eq!(read(b"{\"a\":1}\n").await, (false, b"{\"a\":1}\n".to_vec()));
        assert_eq!(read(b"\x1f").await, (false, b"\x1f".to_vec()));
        assert_eq!(read(b"").await, (false, Vec::new()));
    }
}
