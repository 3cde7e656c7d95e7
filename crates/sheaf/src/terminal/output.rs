//! What commands print: results on stdout, all else on stderr.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

use sheaf_archive::Failures;

use crate::cli::Output;
use crate::error::{Doing, Error, Result};
use crate::terminal::table;

/// Prints a line on stdout.
pub(crate) fn line(text: &str) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes to stdout. A reader that has seen enough, as `head` has, is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.doing(|| "write to stdout".to_owned()),
    }
}

/// Prints a value on stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Error::new(error.to_string()))?;
    line(&text)
}

/// Prints a value on stdout as asked, as JSON unless asked.
pub(crate) fn print(value: &impl Serialize, format: Option<Output>) -> Result<()> {
    if format != Some(Output::Table) {
        return json(value);
    }
    let value = serde_json::to_value(value).map_err(|error| Error::new(error.to_string()))?;
    line(&table::document(&value).join("\n"))
}

/// Prints a remark on stderr. A closed stderr is nobody's concern.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "sheaf: {text}");
}

/// Whether a stream is to be coloured: a terminal whose user has not asked for none
/// (<https://no-color.org>).
pub(crate) fn coloured(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

/// Prints what a run over many tenants did, and what it could not do on stderr: 1 is the exit code
/// then.
pub(crate) fn summary(
    summary: &impl Serialize,
    failures: &Failures,
    format: Option<Output>,
) -> Result<ExitCode> {
    print(summary, format)?;
    for failure in &failures.failures {
        note(&failure.to_string());
    }
    let listed = failures.failures.len() as u64;
    if failures.failed > listed {
        note(&format!("{} more failed", failures.failed - listed));
    }
    Ok(match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
