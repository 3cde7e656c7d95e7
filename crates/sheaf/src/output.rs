//! What commands print: results on stdout, all else on stderr.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use sheaf_archive::Failures;

use crate::error::{Doing, Error, Result};

/// Prints a line on stdout.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .doing(|| "write to stdout".to_owned())
}

/// Prints a value on stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Error::new(error.to_string()))?;
    line(&text)
}

/// Prints a remark on stderr. A closed stderr is nobody's concern.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "sheaf: {text}");
}

/// Prints what a run over many tenants did, and what it could not do on stderr: 1 is the exit code then.
pub(crate) fn summary(summary: &impl Serialize, failures: &Failures) -> Result<ExitCode> {
    json(summary)?;
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
