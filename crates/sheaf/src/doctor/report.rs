//! What was found, a line each.

use serde::Serialize;
use serde_json::json;

use crate::error::Result;
use crate::terminal::output;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// It works, and could be better.
    Warn,
    /// Something that Sheaf does cannot work.
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// The number of its colour in a terminal: green, yellow, red.
    fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Warn => 33,
            Self::Fail => 31,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    /// A node, an address, a directory; none where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on: Option<String>,
    pub(super) status: Status,
    pub(super) seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Finding {
    fn line(&self, coloured: bool) -> String {
        let word = format!("{:<4}", self.status.word());
        let word = match coloured {
            true => format!("\u{1b}[{}m{word}\u{1b}[0m", self.status.colour()),
            false => word,
        };
        let on = self
            .on
            .as_ref()
            .map_or_else(String::new, |on| format!(" {on}"));
        let advice = self.advice.as_ref();
        let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
        // Whatever a server says stays on its line.
        let text = format!("{}{on}: {}{advice}", self.check, self.seen);
        let text: Vec<&str> = text.split_whitespace().collect();
        format!("{word}  {}", text.join(" "))
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    printed: usize,
}

impl Report {
    pub(super) fn ok(&mut self, check: &str, on: Option<&str>, seen: impl Into<String>) {
        self.add(check, on, Status::Ok, seen.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &str,
        on: Option<&str>,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, on, Status::Warn, seen.into(), Some(advice.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: &str,
        on: Option<&str>,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, on, Status::Fail, seen.into(), Some(advice.into()));
    }

    fn add(
        &mut self,
        check: &str,
        on: Option<&str>,
        status: Status,
        seen: String,
        advice: Option<String>,
    ) {
        self.findings.push(Finding {
            check: check.to_owned(),
            on: on.map(str::to_owned),
            status,
            seen,
            advice: advice.filter(|advice| !advice.is_empty()),
        });
    }

    pub(super) fn count(&self, status: Status) -> usize {
        let found = self.findings.iter();
        found.filter(|finding| finding.status == status).count()
    }

    /// Prints what was found since the last time.
    pub(super) fn print_news(&mut self) -> Result<()> {
        let coloured = output::coloured(&std::io::stdout());
        for finding in self.findings.iter().skip(self.printed) {
            output::line(&finding.line(coloured))?;
        }
        self.printed = self.findings.len();
        Ok(())
    }

    pub(super) fn print_sum(&self) -> Result<()> {
        let [ok, warn, fail] = [Status::Ok, Status::Warn, Status::Fail].map(|of| self.count(of));
        output::line(&format!("{ok} ok, {warn} to look at, {fail} failed"))
    }

    pub(super) fn print_json(&self) -> Result<()> {
        output::json(&json!({
            "ok": self.count(Status::Ok),
            "warn": self.count(Status::Warn),
            "fail": self.count(Status::Fail),
            "findings": self.findings,
        }))
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.findings.iter();
        lines.map(|finding| finding.line(false)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line() {
        let mut report = Report::default();
        report.ok("s3 bucket", Some("http://s3"), "there");
        report.fail("postgresql", Some("pg-1:5432"), "two\nlines", "start it");
        report.warn("spool", None, "1 GiB free", "");
        assert_eq!(
            report.lines(),
            [
                "ok    s3 bucket http://s3: there",
                "fail  postgresql pg-1:5432: two lines; start it",
                "warn  spool: 1 GiB free",
            ]
        );
        assert_eq!(report.count(Status::Fail), 1);
        let red = report.findings.get(1).map(|finding| finding.line(true));
        assert!(red.is_some_and(|line| line.starts_with("\u{1b}[31mfail\u{1b}[0m  ")));
    }
}
