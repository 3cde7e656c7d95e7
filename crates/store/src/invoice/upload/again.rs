//! Lines that were found again: an id that derives from an upload's key and a line's number says
//! that the line was stored before. Whether it was this line is looked at, so that another file,
//! sent with the key of one that broke off, is not taken for the rest of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sheaf_model::{Customer, Invoice, Line, Payment, Status};

use super::owner_of;
use crate::batch::{Carried, End};
use crate::invoice::new::{LineOutcome, NewInvoice};
use crate::invoice::read::PointRead;
use crate::{Store, StoreError};
use sheaf_cluster::Error;
use sheaf_cluster::batch::{Batch, Lane, Ticket, run};
use sheaf_cluster::node::lent::Use;

/// Invoices that are read at once: both they and the lines are held meanwhile.
const AT_ONCE: usize = 64;

type Compared = Vec<(usize, Result<LineOutcome, StoreError>)>;

/// A line of which the stored invoice is read.
struct Again {
    index: usize,
    sent: NewInvoice,
    compared: Arc<Mutex<Compared>>,
}

impl Ticket<PointRead> for Again {
    fn hand(self, _: PointRead, _: Carried, end: End<Option<Invoice>>) {
        let outcome = match end {
            End::Done(read) => read.map(|stored| outcome(&self.sent.invoice, stored.as_ref())),
            End::Needs(_) | End::Apart => {
                Err(Error::Bug("a read needs nothing of the archive, and no locks".into()).into())
            }
        };
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        compared.push((self.index, outcome));
    }
}

impl Store {
    /// What became of lines whose ids exist, by their places in the chunk. A draft that was changed
    /// since, and what has gone to the archive, is taken for the same.
    pub(super) async fn lines_again(
        &self,
        found: Vec<(usize, NewInvoice)>,
    ) -> Result<Vec<(usize, LineOutcome)>, StoreError> {
        let compared = Arc::new(Mutex::new(Compared::with_capacity(found.len())));
        let owner = owner_of(found.iter().map(|(_, new)| new));
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, sent) in found {
            let key = (sent.invoice.tenant_id, sent.invoice.id);
            let compared = Arc::clone(&compared);
            let again = Again {
                index,
                sent,
                compared,
            };
            let node = self.inner.cluster.shard_of(key.0).node.clone();
            let of_node = nodes.entry(node).or_default();
            of_node.push((PointRead(key), Carried::default(), again));
        }
        for (node, members) in nodes {
            let node = self.inner.cluster.node(&node);
            let _leave = node.leave(Use::Upload, owner).await?;
            let mut members = members.into_iter().peekable();
            while members.peek().is_some() {
                let batch = members.by_ref().take(AT_ONCE).collect();
                run(self, Batch::sorted(self, batch), Lane::Upload).await;
            }
        }
        let compared =
            std::mem::take(&mut *compared.lock().unwrap_or_else(PoisonError::into_inner));
        compared
            .into_iter()
            .map(|(index, outcome)| Ok((index, outcome?)))
            .collect()
    }
}

fn outcome(sent: &Invoice, stored: Option<&Invoice>) -> LineOutcome {
    match stored {
        Some(stored) if is_other(sent, stored) => LineOutcome::OtherLine(sent.id),
        _ => LineOutcome::Duplicate(sent.id),
    }
}

/// Whether `stored` came from another line than `sent`. Only what a client sends is compared: rules
/// of today may make other sums of it.
fn is_other(sent: &Invoice, stored: &Invoice) -> bool {
    if stored.version == 1 {
        return !(same_head(sent, stored) && same_parts(sent, stored));
    }
    // Of what was issued, these never change. A draft may be another by now.
    let head = |i: &Invoice| (i.kind, i.currency, i.number.clone(), i.discount_percent);
    let is_same = head(sent) == head(stored)
        && same_date(sent, stored)
        && same_lines(sent, stored)
        && sent.payments.len() <= stored.payments.len()
        && same_payments(sent, stored);
    sent.status != Status::Draft && !is_same
}

/// The day on which it came in stands where the client has sent none.
fn same_date(sent: &Invoice, stored: &Invoice) -> bool {
    let of_its_day = |i: &Invoice| i.issue_date == Some(i.created_at.date_naive());
    sent.issue_date == stored.issue_date || (of_its_day(sent) && of_its_day(stored))
}

fn same_head(sent: &Invoice, stored: &Invoice) -> bool {
    let same_customer = match (&sent.customer, sent.customer_id) {
        (Some(customer), _) => stored.customer.as_ref().is_some_and(|c| same(customer, c)),
        (None, customer_id) => stored.customer_id == customer_id,
    };
    let draft = |i: &Invoice| i.status == Status::Draft;
    let head = |i: &Invoice| (i.kind, i.currency, i.due_date, i.discount_percent, draft(i));
    head(sent) == head(stored)
        && same_date(sent, stored)
        && sent.number == stored.number
        && sent.metadata == stored.metadata
        && (sent.discount_percent.is_some() || sent.discount == stored.discount)
        && same_customer
}

fn same(sent: &Customer, stored: &Customer) -> bool {
    (&sent.external_id, &sent.name) == (&stored.external_id, &stored.name)
}

fn same_parts(sent: &Invoice, stored: &Invoice) -> bool {
    sent.payments.len() == stored.payments.len()
        && same_lines(sent, stored)
        && same_payments(sent, stored)
}

fn same_lines(sent: &Invoice, stored: &Invoice) -> bool {
    fn line(line: &Line) -> impl PartialEq {
        let discount = line.discount_percent.is_none().then_some(line.discount);
        let figures = (line.quantity, line.unit_price, line.tax_rate);
        let texts = (line.sku.clone(), line.description.clone());
        (texts, figures, discount, line.discount_percent)
    }
    sent.lines.len() == stored.lines.len()
        && (sent.lines.iter().zip(&stored.lines)).all(|(a, b)| line(a) == line(b))
}

/// Those that were sent; later ones follow them.
fn same_payments(sent: &Invoice, stored: &Invoice) -> bool {
    fn payment(payment: &Payment) -> impl PartialEq {
        let texts = (payment.reference.clone(), payment.method.clone());
        (texts, payment.amount, payment.paid_on)
    }
    (sent.payments.iter().zip(&stored.payments)).all(|(a, b)| payment(a) == payment(b))
}
