//! What may be done to an invoice, and what it does: the state machine, and the rules of money on
//! an issued invoice.
//!
//! ```text
//!            issue                pay                  pay the rest
//!   draft ─────────► issued ◄───────────► partially_paid ◄───────────► paid
//!     │                 │         reverse, refund          reverse, refund
//!     └──── cancel ─────┴────► cancelled
//! ```
//!
//! The status follows the payments; `overdue` is derived from `due_date`, never stored.
//! [`forbidden`] names every step that a status does not allow. What a step does beyond that is in
//! [`steps`](self) below: each function changes the invoice whole, or says why not and leaves it as
//! it was.

pub(crate) mod change;
pub(crate) mod credit;
pub(crate) mod credited;
pub(crate) mod edit;
pub(crate) mod payment;
pub(crate) mod table;
pub(crate) mod told;

pub use change::Change;
pub use credit::{Application, CreditNote, apply_credit};
pub use edit::{Patch, PatchError};
pub use payment::{NewPayment, Reversal, pay_out};
pub use table::{Step, forbidden};
pub use told::told_metadata;

use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Utc};

use crate::Code;
use crate::invoice::totals;
use crate::{Invoice, Kind, Status, bounds};

/// Why a step was not done: the state, or another document, is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Stable code.
    pub code: Code,
    /// For people.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// What a draft is issued with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// Day of issue; the draft's own, or today.
    pub issue_date: Option<NaiveDate>,
    /// Day on which payment is due; the draft's own.
    pub due_date: Option<NaiveDate>,
    /// The number, when the draft has none: from the tenant's series.
    pub number: Option<String>,
}

/// The day on which a draft would be issued.
#[must_use]
pub fn issue_date(draft: &Invoice, asked: Option<NaiveDate>, now: DateTime<Utc>) -> NaiveDate {
    asked
        .or(draft.issue_date)
        .unwrap_or_else(|| now.date_naive())
}

/// The day on which a credit note of an invoice is issued: today, or with an invoice that is of a
/// later day.
#[must_use]
pub fn credit_date(invoice: &Invoice, asked: Option<NaiveDate>, now: DateTime<Utc>) -> NaiveDate {
    let today = now.date_naive();
    asked.unwrap_or_else(|| invoice.issue_date.map_or(today, |day| day.max(today)))
}

impl Invoice {
    /// Gives the draft to the customer: it has a date and a number from now on, and does not change
    /// any more.
    ///
    /// # Errors
    /// What [`forbidden`] says of [`Step::Issue`]; `due_before_issue`.
    pub fn issue(&mut self, issue: Issue, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.permit(Step::Issue)?;
        let issued_on = issue_date(self, issue.issue_date, now);
        let due_date = issue.due_date.or(self.due_date);
        if due_date.is_some_and(|due| due < issued_on) {
            let detail = "due_date must not be before issue_date";
            return Err(Refusal::new(Code::DueBeforeIssue, detail));
        }
        self.issue_date = Some(issued_on);
        self.due_date = due_date;
        if self.number.is_none() {
            self.number = issue.number;
        }
        self.status = totals::status_for(self.total, self.amount_paid, true);
        self.touch(now);
        Ok(())
    }

    /// Records that the document was handed over; nothing but the version changes.
    ///
    /// # Errors
    /// What [`forbidden`] says of [`Step::Send`].
    pub fn send(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.permit(Step::Send)?;
        self.touch(now);
        Ok(())
    }

    /// Withdraws a document on which nothing was paid, or all was given back. Nothing is owed on it
    /// afterwards.
    ///
    /// # Errors
    /// What [`forbidden`] says of [`Step::Cancel`]; `credit_note_final` for one that corrects an
    /// invoice; `invoice_credited` for an invoice with credit notes.
    pub fn cancel(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        // An invoice of nothing is paid without a payment.
        if !(self.status == Status::Paid && self.total.is_zero()) {
            self.permit(Step::Cancel)?;
        }
        if self.credits.is_some() {
            let detail = "a credit note that corrects an invoice is not cancelled";
            return Err(Refusal::new(Code::CreditNoteFinal, detail));
        }
        if !self.amount_credited.is_zero() {
            let detail = "the invoice has credit notes: credit the rest instead";
            return Err(Refusal::new(Code::InvoiceCredited, detail));
        }
        self.status = Status::Cancelled;
        self.amount_due = rust_decimal::Decimal::ZERO;
        self.touch(now);
        Ok(())
    }

    /// Whether `step` is possible in this status at all.
    fn permit(&self, step: Step) -> Result<(), Refusal> {
        if self.version >= bounds::MAX_VERSION {
            let detail = "the document's version cannot count any further";
            return Err(Refusal::new(Code::TooManyChanges, detail));
        }
        forbidden(self.kind, self.status, step)
            .map_or(Ok(()), |(code, detail)| Err(Refusal::new(code, detail)))
    }

    /// Status and due follow what is paid.
    fn settle(&mut self, now: DateTime<Utc>) {
        self.amount_due = self.total - self.amount_paid;
        self.status = totals::status_for(self.total, self.amount_paid, true);
        self.touch(now);
    }

    fn touch(&mut self, now: DateTime<Utc>) {
        self.version += 1;
        // Later than the change before, whatever the clock says: events are told in this order.
        let next = self.modified_at + TimeDelta::microseconds(1);
        self.modified_at = now.trunc_subsecs(6).max(next);
    }
}

/// Whether payment is late on `today`: nobody owes anything on a credit note. Derived, never
/// stored.
#[must_use]
pub fn is_overdue(invoice: &Invoice, today: NaiveDate) -> bool {
    invoice.kind == Kind::Invoice
        && matches!(invoice.status, Status::Issued | Status::PartiallyPaid)
        && invoice.due_date.is_some_and(|due| due < today)
}

#[cfg(test)]
mod tests;
