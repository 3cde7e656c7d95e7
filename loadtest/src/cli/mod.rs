//! The commands.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) mod check;
pub(crate) mod measure;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod poison;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod stub;
pub(crate) mod sweep;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The exit codes of commands, for scripts. 1 is left to what could not be done at all.
pub(crate) enum Exit {
    Good,
    /// A condition was missed.
    Missed,
    /// The run says nothing about the server.
    Invalid,
    /// Worse than the baseline.
    Worse,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Missed => 2,
            Exit::Invalid => 3,
            Exit::Worse => 4,
        })
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

/// A time such as `500ms`, `10s` or `2m`, at most a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and one of ms, s, m, h".to_owned()),
    };
    let count: u64 = count
        .parse()
        .map_err(|_| "a time starts with a whole number".to_owned())?;
    let millis = count
        .checked_mul(millis)
        .filter(|millis| (1..=86_400_000).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is at least 1ms and at most 24h".to_owned())
}
