//! The answer to an upload.

use sheaf_model::Code;
use sheaf_web::Error;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use sheaf_store::LineOutcome;
use utoipa::ToSchema;

/// A line that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LineError {
    /// Number of the line in the upload, from 1; blank lines count.
    pub(crate) line: u64,
    /// Stable, snake case.
    #[schema(value_type = String)]
    pub(crate) code: Code,
    /// One sentence for people, with the field's path: `lines[0].quantity: must be greater than 0`.
    pub(crate) detail: String,
}

/// Counts of an upload. `received` is the sum of the other three once the upload has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BulkSummary)]
pub(crate) struct Summary {
    /// Lines that are not blank.
    pub(crate) received: u64,
    /// Invoices stored.
    pub(crate) created: u64,
    /// Lines whose invoice exists already, by `external_id`.
    pub(crate) duplicates: u64,
    /// Lines that cannot be stored.
    pub(crate) rejected: u64,
    /// The first 1,000 rejected lines, in line order.
    #[serde(serialize_with = "in_order")]
    #[schema(value_type = Vec<LineError>)]
    errors: BTreeMap<u64, LineError>,
    #[serde(skip)]
    #[schema(ignore)]
    max_errors: usize,
}

fn in_order<S: Serializer>(
    errors: &BTreeMap<u64, LineError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(errors.values())
}

impl Summary {
    pub(crate) fn new(max_errors: usize) -> Self {
        Self {
            max_errors,
            ..Self::default()
        }
    }

    /// Counts a rejected line. Lines are judged in two places and out of order: the first ones are
    /// kept whatever the order in which they come.
    pub(crate) fn reject(&mut self, error: LineError) {
        self.rejected += 1;
        let full = self.errors.len() >= self.max_errors;
        if full
            && self
                .errors
                .last_key_value()
                .is_none_or(|(last, _)| *last < error.line)
        {
            return;
        }
        self.errors.insert(error.line, error);
        if full {
            self.errors.pop_last();
        }
    }

    /// Counts what the store made of a line.
    pub(crate) fn count(&mut self, line: u64, outcome: LineOutcome) {
        match outcome {
            LineOutcome::Created => self.created += 1,
            LineOutcome::Duplicate(_) => self.duplicates += 1,
            LineOutcome::OtherLine(existing) => self.reject(other_line(
                line,
                &format!(" was stored as invoice {existing}, and it"),
            )),
            LineOutcome::Rejected { code, detail } => self.reject(LineError { line, code, detail }),
        }
    }

    /// Names the line at which the lines up to it turn out to be another upload's. Counted with
    /// those that were received.
    pub(crate) fn differs(&mut self, line: u64) {
        self.reject(other_line(line, " or one before it"));
    }

    /// The members as a problem's extensions. `errors` is a standard member of ours with another
    /// form, so the lines are `line_errors` there.
    pub(crate) fn members(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut members = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(members)) => members,
            _ => serde_json::Map::new(),
        };
        if let Some(errors) = members.remove("errors") {
            members.insert("line_errors".to_owned(), errors);
        }
        members
    }

    /// The answer, which is kept under the upload's key.
    ///
    /// # Errors
    /// [`Error::Internal`]: numbers and strings can always be written.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Adds the counts to the process's metrics.
    pub(crate) fn record(&self) {
        for (outcome, count) in [
            ("created", self.created),
            ("duplicate", self.duplicates),
            ("rejected", self.rejected),
        ] {
            metrics::counter!("sheaf_bulk_lines_total", "outcome" => outcome).increment(count);
        }
    }
}

fn other_line(line: u64, what: &str) -> LineError {
    LineError {
        line,
        code: Code::IdempotencyKeyReused,
        detail: format!(
            "with this idempotency key, the line with this number{what} was another one: send \
             another upload with another key"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_named_whatever_the_order() {
        let mut summary = Summary::new(2);
        for line in [9, 3, 7, 1] {
            summary.reject(LineError {
                line,
                code: Code::InvalidJson,
                detail: String::new(),
            });
        }
        assert_eq!(summary.rejected, 4);
        assert_eq!(summary.errors.keys().copied().collect::<Vec<_>>(), [1, 3]);
    }
}
