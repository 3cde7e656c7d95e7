//! The bound of a history. An invoice moves to the archive, comes back and is read with its whole
//! history, so that it must not grow for ever; and nothing of it may be taken away. So what can be
//! done without end is refused once the history is full: edits and notes that it was sent first,
//! further credit notes much later. Payments, refunds, cancelling and issuing are few by themselves
//! (docs/decisions/0026-histories-are-bounded.md).

use std::collections::BTreeMap;

use sheaf_model::invoice::lifecycle::Refusal;
use sheaf_model::{Code, TenantId, id};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::ChangeError;
use super::apply::Work;
use super::command::{Command, NewChange};
use crate::batch::Abort;
use crate::sql;
use sheaf_cluster::batch::Place;
use sheaf_cluster::transaction::in_order;

/// Bytes of a history at which edits end.
const MAX_BYTES: usize = 4 << 20;
/// Bytes of it at which credit notes end: what corrects money goes on for as long as it can.
const MAX_BYTES_OF_MONEY: usize = 2 * MAX_BYTES;
/// Changes for which nobody needs to look: so many events, each at its longest, are no more than
/// the bound.
const UNSEEN: i64 = 32;

/// The bytes at which a command is refused; none where it cannot be repeated without end.
fn bound(command: &Command) -> Option<usize> {
    match command {
        Command::Edit(_) | Command::Send { .. } => Some(MAX_BYTES),
        Command::Credit(_) => Some(MAX_BYTES_OF_MONEY),
        Command::Issue { .. }
        | Command::Cancel { .. }
        | Command::Pay(_)
        | Command::Reverse { .. }
        | Command::Refund(_)
        | Command::PayOut { .. }
        | Command::Apply { .. }
        | Command::Recall => None,
    }
}

/// Measures the histories of invoices that have changed often and are to change by something that
/// the bound is for. They are locked: nobody adds to them meanwhile.
pub(super) async fn weigh(
    place: &Place<'_>,
    work: &mut Work,
    changes: &[NewChange],
) -> Result<(), Abort> {
    let mut asked: BTreeMap<(TenantId, Uuid), i64> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| bound(&change.command).is_some())
    {
        *asked
            .entry((change.tenant_id, change.invoice_id))
            .or_default() += 1;
    }
    let mut hot = Vec::new();
    for (key, count) in asked {
        let Some(doc) = work.docs.get_mut(&key) else {
            continue;
        };
        if doc.new.version.saturating_add(count) <= UNSEEN {
            continue;
        }
        match &doc.cold {
            Some(cold) => doc.history = cold.archived.events.iter().map(|e| e.data.len()).sum(),
            None => hot.push(key),
        }
    }
    if hot.is_empty() {
        return Ok(());
    }
    // One statement an invoice, and one round trip.
    let weight = place.conn.prepare_cached(sql::EVENT_WEIGHT).await?;
    let weights = hot.iter().map(|(tenant, invoice)| {
        let (conn, weight) = (place.conn, &weight);
        async move {
            let year = id::year_of(*invoice);
            let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &year, invoice];
            conn.query_one(weight, &params).await
        }
    });
    let weights = in_order(weights).await?;
    for (key, weight) in hot.iter().zip(weights) {
        if let Some(doc) = work.docs.get_mut(key) {
            doc.history = usize::try_from(weight.get::<_, i64>(0)).unwrap_or(0);
        }
    }
    Ok(())
}

/// Refuses a change for which the history has no room.
pub(super) fn check(command: &Command, history: usize) -> Result<(), ChangeError> {
    if bound(command).is_none_or(|bound| history < bound) {
        return Ok(());
    }
    let detail = format!(
        "the history of the invoice has {} MiB, and takes no more changes of this kind",
        history >> 20
    );
    Err(ChangeError::Refused(Refusal {
        code: Code::HistoryFull,
        detail,
    }))
}
