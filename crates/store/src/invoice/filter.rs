//! What a list of invoices is narrowed to.

use chrono::NaiveDate;
use sheaf_model::invoice::lifecycle;
use sheaf_model::{Invoice, Kind, Status};
use uuid::Uuid;

/// What a list of invoices is narrowed to. All conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Exact status.
    pub status: Option<Status>,
    /// Exact kind.
    pub kind: Option<Kind>,
    /// Exact customer.
    pub customer_id: Option<Uuid>,
    /// Customers that count as `customer_id`: those that were merged into it, whom archived
    /// documents still name. The hot tier's list does not look for them.
    pub merged: Vec<Uuid>,
    /// Exact number.
    pub number: Option<String>,
    /// Exact external id.
    pub external_id: Option<String>,
    /// First day of issue, inclusive.
    pub issued_from: Option<NaiveDate>,
    /// Last day of issue, inclusive.
    pub issued_to: Option<NaiveDate>,
    /// Payment was due before this day, and is still owed.
    pub overdue_on: Option<NaiveDate>,
    /// Top-level metadata keys and their values.
    pub metadata: Vec<(String, String)>,
}

impl ListFilter {
    /// The same answer as the hot tier's SQL, for an invoice in hand.
    #[must_use]
    pub fn matches(&self, invoice: &Invoice) -> bool {
        self.status.is_none_or(|s| s == invoice.status)
            && self.kind.is_none_or(|k| k == invoice.kind)
            && self.customer_id.is_none_or(|c| {
                let of = invoice.customer_id;
                of.is_some_and(|of| of == c || self.merged.contains(&of))
            })
            && self
                .number
                .as_ref()
                .is_none_or(|n| invoice.number.as_ref() == Some(n))
            && self
                .external_id
                .as_ref()
                .is_none_or(|e| invoice.external_id.as_ref() == Some(e))
            && self
                .issued_from
                .is_none_or(|d| invoice.issue_date.is_some_and(|i| i >= d))
            && self
                .issued_to
                .is_none_or(|d| invoice.issue_date.is_some_and(|i| i <= d))
            && self
                .overdue_on
                .is_none_or(|day| lifecycle::is_overdue(invoice, day))
            && self
                .metadata
                .iter()
                .all(|(k, v)| invoice.metadata.matches(k, v))
    }
}
