//! Commands of the user's: for what HTTP does not tell, such as bytes on disk.
// Figures are measurements, not money.
#![allow(clippy::float_arithmetic)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Bytes of a command's output that are read at most.
pub(crate) const MAX_TEXT: usize = 4 << 20;

/// A command failed, or printed something that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{command}`: {why}")]
pub struct CommandError {
    /// As the shell got it.
    pub command: String,
    /// What went wrong.
    pub why: String,
}

impl CommandError {
    /// An error of this command.
    #[must_use]
    pub fn new(command: &str, why: impl Into<String>) -> Self {
        Self {
            command: command.to_owned(),
            why: why.into(),
        }
    }
}

/// Runs a command by `sh -c` and answers what it prints to standard output, 4 MiB at most. Standard
/// error goes on to the terminal.
///
/// # Errors
/// It could not be started, ended with another status than 0, or printed too much or no UTF-8.
pub fn output(command: &str) -> Result<String, CommandError> {
    let failed = |why: String| CommandError::new(command, why);
    let done = Command::new("sh")
        .args(["-c", command])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !done.status.success() {
        return Err(failed(done.status.to_string()));
    }
    if done.stdout.len() > MAX_TEXT {
        return Err(failed("it prints too much".to_owned()));
    }
    String::from_utf8(done.stdout).map_err(|error| failed(error.to_string()))
}

/// The figures in lines `name value`. Those of one name add up, as for a cluster whose machines are
/// asked one by one; other lines are passed over.
#[must_use]
pub fn figures(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value), None) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
        if let Some(value) = value.filter(|_| is_name) {
            *found.entry(name.to_owned()).or_default() += value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_named() {
        let error = output("echo 1; exit 3").map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("exit 3") && error.contains("status: 3")));
    }

    #[test]
    fn figures_of_one_name_add_up_and_other_lines_are_passed_over() {
        let text =
            "hot_bytes 10\nhot_bytes 2.5\ncatalog_rows 3\n# a remark\nNaN 1 2\nx nan\n1x 5\nrows\n";
        let wanted = [("catalog_rows", 3.0), ("hot_bytes", 12.5)];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(figures(text), BTreeMap::from(wanted));
    }
}
