//! The model's rules on the invoices of a batch, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sheaf_model::invoice::lifecycle;
use sheaf_model::invoice::lifecycle::{Change, CreditNote, Issue, NewPayment, PatchError};
use sheaf_model::{Invoice, Kind, Payment, Status, TenantId};
use uuid::Uuid;

use super::command::{Answer, Command, NewChange};
use super::named::Records;
use super::{ChangeError, Changed, Outcome, history};
use crate::StoreError;
use crate::cluster::shard::Shard;
use crate::idempotency::StoredKey;
use crate::invoice::decode::Key;
use crate::setting::number_series::{INVOICE, NOTE, Numbers};
use crate::types::{ColdInvoice, Replay};

/// An invoice of the batch: as it was read, and as it is after the changes so far.
pub(super) struct Doc {
    pub(super) shard: Arc<Shard>,
    pub(super) old: Invoice,
    pub(super) new: Invoice,
    /// Where it comes from, when it was archived.
    pub(super) cold: Option<Arc<ColdInvoice>>,
    pub(super) changed: bool,
    /// Bytes of its history, as far as it was looked at, and of what the changes so far add to it.
    pub(super) history: usize,
}

/// An event to be written.
pub(super) struct Event {
    /// Index of the change that caused it.
    pub(super) by: usize,
    pub(super) subject: Uuid,
    pub(super) event_type: &'static str,
    pub(super) data: String,
    /// When its subject changed: later than the change before.
    pub(super) at: DateTime<Utc>,
}

/// A document that the batch makes.
pub(super) struct Made {
    pub(super) shard: Arc<Shard>,
    pub(super) invoice: Invoice,
}

/// All that a batch works on.
#[derive(Default)]
pub(super) struct Work {
    pub(super) docs: BTreeMap<Key, Doc>,
    pub(super) made: Vec<Made>,
    pub(super) events: Vec<Event>,
    /// Answers of keys: stored ones, and those of this batch.
    pub(super) answered: HashMap<(TenantId, String), StoredKey>,
    pub(super) numbers: Numbers,
    /// Of those that the batch gives documents to.
    pub(super) customers: Records,
}

impl Work {
    /// Does one change, or says why not and leaves everything as it was.
    pub(super) fn apply(&mut self, index: usize, change: &NewChange) -> Outcome {
        if let Some(replay) = self.replay(change)? {
            return Ok(Changed::Replay(replay));
        }
        let key = (change.tenant_id, change.invoice_id);
        let doc = self
            .docs
            .get(&key)
            .ok_or(ChangeError::NotFound(change.invoice_id))?;
        let current = doc.new.version;
        if let Some(expected) = &change.expected
            && !expected.allows(current)
        {
            return Err(ChangeError::VersionMismatch { current });
        }
        history::check(&change.command, doc.history)?;
        let answer = self.run(index, change, key)?;
        if let Some(idem) = &change.idem {
            let replay = Replay {
                status: answer.status,
                location: answer.location.clone(),
                body: answer.body.clone(),
            };
            let key = (change.tenant_id, idem.key.clone());
            self.answered.insert(key, StoredKey::answered(idem, replay));
        }
        Ok(Changed::New(answer))
    }

    fn replay(&self, change: &NewChange) -> Result<Option<Replay>, ChangeError> {
        let Some(idem) = &change.idem else {
            return Ok(None);
        };
        match self.answered.get(&(change.tenant_id, idem.key.clone())) {
            None => Ok(None),
            Some(stored) => {
                let judged = stored.judge(&idem.fingerprint).cloned();
                Ok(Some(judged.map_err(StoreError::from)?))
            }
        }
    }

    fn run(&mut self, index: usize, change: &NewChange, key: Key) -> Result<Answer, ChangeError> {
        let now = change.now;
        match &change.command {
            Command::Edit(patch) => {
                let edit = |invoice: &mut Invoice| match invoice.edit(patch, now) {
                    Ok(()) => Ok(json!({})),
                    Err(PatchError::Refused(refusal)) => Err(refusal.into()),
                    Err(PatchError::Invalid(invalid)) => Err(invalid.into()),
                };
                self.change(index, key, "invoice.updated", edit)
            }
            Command::Issue {
                issue_date,
                due_date,
            } => self.issue(index, key, (*issue_date, *due_date), now),
            Command::Send { channel, recipient } => {
                self.change(index, key, "invoice.sent", |invoice| {
                    invoice.send(now)?;
                    Ok(json!({"channel": channel, "recipient": recipient}))
                })
            }
            Command::Cancel { reason } => {
                let mut invoice = self.copy(key)?;
                if invoice.status == Status::Draft {
                    self.customers.freeze_profile(&mut invoice);
                }
                invoice.cancel(now)?;
                let more = json!({"reason": reason});
                self.put(index, key, invoice, "invoice.cancelled", more);
                self.answer(key, 200)
            }
            Command::Pay(payment) => self.record(index, key, "payment.recorded", |invoice| {
                Ok((invoice.pay(payment.clone(), now)?, json!({})))
            }),
            Command::Refund(refund) => self.record(index, key, "payment.refunded", |invoice| {
                Ok((invoice.refund(refund.clone(), now)?, json!({})))
            }),
            Command::PayOut { refund, of } => self.pay_out(index, key, (refund, *of), now),
            Command::Reverse { reversal, reason } => {
                self.record(index, key, "payment.reversed", |invoice| {
                    let id = invoice.reverse(reversal.clone(), now)?;
                    Ok((id, json!({"reason": reason})))
                })
            }
            Command::Credit(_) => self.credit(index, change, key),
            Command::Apply { to, amount } => {
                let other = (key.0, *to);
                let (mut note, mut invoice) = (self.copy(key)?, self.copy(other)?);
                self.customers.follow_merge(&mut note);
                self.customers.follow_merge(&mut invoice);
                let applied = lifecycle::apply_credit(&mut note, &mut invoice, *amount, now)?;
                let shown = show(applied.amount, &invoice);
                let on_note = json!({"invoice_id": to, "amount": shown});
                self.put(index, key, note, "credit_note.applied", on_note);
                let on_invoice = json!({"credit_note_id": key.1, "amount": shown,
                    "payment_id": applied.payment_id});
                self.put(index, other, invoice, "invoice.credited", on_invoice);
                self.answer(key, 200)
            }
            Command::Recall => {
                if let Some(doc) = self.docs.get_mut(&key)
                    && doc.cold.is_some()
                {
                    doc.changed = true;
                }
                self.answer(key, 200)
            }
        }
    }

    /// A change of one invoice, answered with the invoice.
    fn change(
        &mut self,
        index: usize,
        key: Key,
        event_type: &'static str,
        step: impl FnOnce(&mut Invoice) -> Result<Value, ChangeError>,
    ) -> Result<Answer, ChangeError> {
        let mut invoice = self.copy(key)?;
        let more = step(&mut invoice)?;
        self.put(index, key, invoice, event_type, more);
        self.answer(key, 200)
    }

    /// A change that records a payment, answered with the payment.
    fn record(
        &mut self,
        index: usize,
        key: Key,
        event_type: &'static str,
        step: impl FnOnce(&mut Invoice) -> Result<(Uuid, Value), lifecycle::Refusal>,
    ) -> Result<Answer, ChangeError> {
        let mut invoice = self.copy(key)?;
        let (id, more) = step(&mut invoice)?;
        self.recorded(index, key, invoice, event_type, (id, more))
    }

    /// A credit note is paid out of what came in on its invoice. One whose invoice is not there,
    /// having been restored without it, is bounded by itself alone.
    fn pay_out(
        &mut self,
        index: usize,
        key: Key,
        (refund, of): (&NewPayment, Uuid),
        now: DateTime<Utc>,
    ) -> Result<Answer, ChangeError> {
        let (event_type, other) = ("payment.refunded", (key.0, of));
        let mut note = self.copy(key)?;
        // What is no invoice was never paid by the customer, least of all the note itself.
        let invoice = self.copy(other).ok();
        let Some(mut invoice) = invoice.filter(|of| of.kind == Kind::Invoice) else {
            let id = note.refund(refund.clone(), now)?;
            return self.recorded(index, key, note, event_type, (id, json!({})));
        };
        let id = lifecycle::pay_out(&mut note, &mut invoice, refund.clone(), now)?;
        let more = json!({"credit_note_id": key.1, "payment_id": id, "amount": show(refund.amount, &note)});
        let answer = self.recorded(index, key, note, event_type, (id, json!({})));
        self.put(index, other, invoice, "invoice.credit_paid_out", more);
        answer
    }

    fn recorded(
        &mut self,
        index: usize,
        key: Key,
        invoice: Invoice,
        event_type: &'static str,
        (id, mut more): (Uuid, Value),
    ) -> Result<Answer, ChangeError> {
        if let Some(payment) = invoice.payments.iter().find(|payment| payment.id == id) {
            more["payment"] = told(payment, &invoice);
        }
        self.put(index, key, invoice, event_type, more);
        let doc = self.doc(key)?;
        Ok(Answer {
            status: 201,
            location: Some(format!("/v1/invoices/{}", key.1)),
            body: doc.new.render_payment(id),
            version: doc.new.version,
        })
    }

    fn issue(
        &mut self,
        index: usize,
        key: Key,
        (issue_date, due_date): (Option<chrono::NaiveDate>, Option<chrono::NaiveDate>),
        now: DateTime<Utc>,
    ) -> Result<Answer, ChangeError> {
        let mut invoice = self.copy(key)?;
        let series = match invoice.kind {
            Kind::Invoice => INVOICE,
            Kind::CreditNote => NOTE,
        };
        let day = lifecycle::issue_date(&invoice, issue_date, now);
        let number = match invoice.number {
            Some(_) => None,
            None => self.numbers.next(key.0, series, day)?,
        };
        invoice.issue(
            Issue {
                issue_date,
                due_date,
                number: number.clone(),
            },
            now,
        )?;
        self.customers.may_receive(&invoice)?;
        self.customers.freeze_profile(&mut invoice);
        match number {
            Some(_) => self.numbers.take(series, day, &invoice),
            None => {
                let brought = self.numbers.bring(&invoice);
                brought.map_err(|existing| ChangeError::DuplicateNumber { existing })?;
            }
        }
        self.put(index, key, invoice, "invoice.issued", json!({}));
        self.answer(key, 200)
    }

    fn credit(
        &mut self,
        index: usize,
        change: &NewChange,
        key: Key,
    ) -> Result<Answer, ChangeError> {
        let Command::Credit(request) = &change.command else {
            return Err(ChangeError::NotFound(key.1));
        };
        let mut invoice = self.copy(key)?;
        self.customers.follow_merge(&mut invoice);
        let day = lifecycle::credit_date(&invoice, request.issue_date, change.now);
        let note = CreditNote {
            lines: request.lines(invoice.currency)?,
            issue_date: day,
            number: self.numbers.next(key.0, NOTE, day)?,
            metadata: request.metadata.clone(),
            apply: request.apply,
        };
        let (mut made, applied) = invoice.credit(note, change.now)?;
        self.customers.hide_erased(&mut made);
        self.customers.freeze_profile(&mut made);
        self.numbers.take(NOTE, day, &made);
        let more = json!({
            "credit_note_id": made.id, "number": made.number, "total": show(made.total, &made),
            "reason": request.reason, "applied": applied.map(|a| show(a.amount, &made)),
            "payment_id": applied.map(|a| a.payment_id),
        });
        let shard = Arc::clone(&self.doc(key)?.shard);
        self.put(index, key, invoice, "invoice.credited", more);
        let answer = Answer {
            status: 201,
            location: Some(format!("/v1/invoices/{}", made.id)),
            body: made.render(),
            version: made.version,
        };
        self.events.push(Event {
            by: index,
            subject: made.id,
            event_type: "invoice.created",
            data: made.created_event(),
            at: made.created_at,
        });
        self.made.push(Made {
            shard,
            invoice: made,
        });
        Ok(answer)
    }

    fn doc(&self, key: Key) -> Result<&Doc, ChangeError> {
        self.docs.get(&key).ok_or(ChangeError::NotFound(key.1))
    }

    fn copy(&self, key: Key) -> Result<Invoice, ChangeError> {
        Ok(self.doc(key)?.new.clone())
    }

    fn put(
        &mut self,
        by: usize,
        key: Key,
        invoice: Invoice,
        event_type: &'static str,
        more: Value,
    ) {
        let Some(doc) = self.docs.get_mut(&key) else {
            return;
        };
        let changes = Change::between(&doc.new, &invoice);
        let data = changes.event(invoice.version, more);
        doc.history = doc.history.saturating_add(data.len());
        self.events.push(Event {
            by,
            subject: key.1,
            event_type,
            data,
            at: invoice.modified_at,
        });
        doc.new = invoice;
        doc.changed = true;
    }

    fn answer(&self, key: Key, status: u16) -> Result<Answer, ChangeError> {
        let invoice = &self.doc(key)?.new;
        Ok(Answer {
            status,
            location: None,
            body: invoice.render(),
            version: invoice.version,
        })
    }
}

fn show(amount: sheaf_model::Decimal, of: &Invoice) -> String {
    sheaf_model::money::decimal::render_amount(amount, of.currency.exponent())
}

fn told(payment: &Payment, of: &Invoice) -> Value {
    json!({
        "id": payment.id, "kind": payment.kind.as_str(), "reference": payment.reference,
        "amount": show(payment.amount, of), "paid_on": payment.paid_on, "method": payment.method,
        "reverses": payment.reverses,
    })
}
