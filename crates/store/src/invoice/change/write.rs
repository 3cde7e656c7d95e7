//! Writing what a batch came to: one round trip, commit included where no key needs a second look
//! at the archive.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chrono::TimeDelta;
use deadpool_postgres::Object;
use sheaf_model::{Credited, Invoice, TaxRounding, id};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement as Prepared};
use uuid::Uuid;

use super::apply::{Doc, Work};
use super::attempt::Keyed;
use super::command::{Answer, NewChange};
use super::{Changed, Outcome};
use crate::Store;
use crate::batch::Abort;
use crate::cold::file::ColdFiles;
use crate::cold::recall;
use crate::idempotency::key::IdemKey;
use crate::invoice::create::write::same_archive;
use crate::invoice::encode::Batch;
use crate::invoice::number::Claim;
use crate::invoice::send::write;
use crate::sql::statements::{OnShard, Statement};
use sheaf_cluster::batch::Place;
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::transaction::in_order;

/// What a batch came to.
#[derive(Clone, Copy)]
pub(super) struct Decided<'a> {
    pub(super) work: &'a Work,
    pub(super) outcomes: &'a [Outcome],
    /// Customers to be made.
    pub(super) customers: &'a [(Arc<Shard>, Uuid)],
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send + 'a>>;

impl Store {
    pub(super) async fn write_changes(
        &self,
        place: &Place<'_>,
        changes: &[NewChange],
        decided: &Decided<'_>,
        (keyed, files): (&Keyed, &ColdFiles),
    ) -> Result<(), Abort> {
        let conn = place.conn;
        let work = decided.work;
        // A recall of what is hot changes nothing, and yet its key must find its answer.
        let mut answers = changes.iter().zip(decided.outcomes);
        let keeps = answers.any(|(change, outcome)| kept(change, outcome).is_some());
        if !keeps && work.docs.values().all(|doc| !doc.changed) {
            // Nothing but refusals and answers of before.
            return Ok(place.frame.run(conn, "rollback").await?);
        }
        let changed: Vec<&Doc> = work.docs.values().filter(|doc| doc.changed).collect();
        for doc in &changed {
            if let Some(cold) = &doc.cold {
                recall::restore(conn, &doc.shard, cold, changes).await?;
            }
        }
        let batches = encode(place, changes, decided);
        let columns: Vec<Header> = changed
            .iter()
            .filter(|doc| doc.cold.is_none())
            .map(|doc| Header::of(doc))
            .collect();
        let mut updates: Vec<Sent<'_>> = Vec::with_capacity(changed.len() + 1);
        for header in &columns {
            let update = prepare(conn, header.shard, Statement::UpdateInvoice).await?;
            updates.push(Box::pin(header.update(conn, update)));
            if header.lines {
                let delete = prepare(conn, header.shard, Statement::DeleteLines).await?;
                updates.push(Box::pin(header.delete_lines(conn, delete)));
            }
        }
        for doc in &changed {
            if let Some(claim) = given_up(doc) {
                let statement = prepare(conn, &doc.shard, Statement::GiveUpNumber).await?;
                let old = &doc.old;
                updates.push(Box::pin(async move {
                    let params: [&(dyn ToSql + Sync); 4] =
                        [&old.tenant_id.0, &claim.number, &claim.year, &old.id];
                    conn.execute(&statement, &params).await
                }));
            }
        }
        for (shard, tenant, series, row, next) in work.numbers.moved() {
            let statement = prepare(conn, shard, Statement::NextNumber).await?;
            updates.push(Box::pin(async move {
                let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &series, &row, &next];
                conn.execute(&statement, &params).await
            }));
        }
        let open = async {
            in_order(updates).await?;
            Ok(())
        };
        let end = async {
            if keyed.is_empty() {
                place.commit().await
            } else {
                Ok(())
            }
        };
        let now = write(place, &batches, keyed, open, end)
            .await
            .map_err(told)?;
        if !keyed.is_empty() {
            same_archive(now, keyed, files)?;
            place.commit().await?;
        }
        Ok(())
    }
}

/// An answer that is kept under the key of its change.
fn kept<'a>(change: &'a NewChange, outcome: &'a Outcome) -> Option<(&'a IdemKey, &'a Answer)> {
    match (&change.idem, outcome) {
        (Some(idem), Ok(Changed::New(answer))) => Some((idem, answer)),
        _ => None,
    }
}

/// The claim of a document that has another number, or another year, now. An archived one keeps
/// both.
fn given_up(doc: &Doc) -> Option<Claim<'_>> {
    Claim::of(&doc.old).filter(|claim| Claim::of(&doc.new) != Some(*claim))
}

/// Logs that a locked invoice was not as it was read. Its transaction is rolled back: of money, no
/// half is written.
fn told(abort: Abort) -> Abort {
    if let Abort::Db(error) = &abort
        && error.code() == Some(&SqlState::DIVISION_BY_ZERO)
    {
        tracing::error!(
            "an invoice was locked, and was not as it was read when it was to be written: nothing \
             of its batch is stored"
        );
    }
    abort
}

async fn prepare(conn: &Object, shard: &Shard, statement: Statement) -> Result<Prepared, Error> {
    conn.prepare_cached(shard.statement(statement)).await
}

/// A header as the parameters of its update.
struct Header<'a> {
    shard: &'a Shard,
    old_version: i64,
    new: &'a Invoice,
    year: i16,
    counts: (i32, i32),
    lines: bool,
}

impl<'a> Header<'a> {
    fn of(doc: &'a Doc) -> Self {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let new = &doc.new;
        Self {
            shard: &doc.shard,
            old_version: doc.old.version,
            new,
            year: id::year_of(new.id),
            counts: (count(new.lines.len()), count(new.payments.len())),
            lines: doc.new.lines != doc.old.lines,
        }
    }

    async fn update(&self, conn: &Object, statement: Prepared) -> Result<u64, Error> {
        let i = self.new;
        let c = i.customer.as_ref();
        let text = |get: fn(&sheaf_model::Customer) -> Option<&str>| c.and_then(get);
        let (external_id, name, email, tax_id, address, country) = (
            text(|c| c.external_id.as_deref()),
            text(|c| Some(c.name.as_str())),
            text(|c| c.email.as_deref()),
            text(|c| c.tax_id.as_deref()),
            text(|c| c.address.as_deref()),
            text(|c| c.country.as_deref()),
        );
        let metadata = recall::Jsonb(i.metadata.as_str());
        let rounding = i.tax_rounding.map(TaxRounding::as_str);
        let credited = i.credited.as_ref().map(Credited::to_json);
        let credited = credited.as_deref().map(recall::Jsonb);
        let params: [&(dyn ToSql + Sync); 35] = [
            &i.tenant_id.0,
            &self.year,
            &i.id,
            &self.old_version,
            &i.external_id,
            &i.number,
            &i.kind.as_str(),
            &i.status.as_str(),
            &i.currency.code(),
            &i.customer_id,
            &external_id,
            &name,
            &email,
            &tax_id,
            &address,
            &country,
            &i.issue_date,
            &i.due_date,
            &i.subtotal,
            &i.discount_total,
            &i.tax_total,
            &i.total,
            &i.amount_paid,
            &i.amount_due,
            &self.counts.0,
            &self.counts.1,
            &metadata,
            &i.version,
            &i.modified_at,
            &i.discount,
            &i.discount_percent,
            &i.amount_credited,
            &rounding,
            &i.profile_version,
            &credited,
        ];
        conn.execute(&statement, &params).await
    }

    async fn delete_lines(&self, conn: &Object, statement: Prepared) -> Result<u64, Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&self.new.tenant_id.0, &self.year, &self.new.id];
        conn.execute(&statement, &params).await
    }
}

/// The rows to insert, by shard.
fn encode(
    place: &Place<'_>,
    changes: &[NewChange],
    decided: &Decided<'_>,
) -> Vec<(Arc<Shard>, Batch)> {
    let Decided {
        work,
        outcomes,
        customers,
    } = *decided;
    let mut batches: BTreeMap<i64, (Arc<Shard>, Batch)> = BTreeMap::new();
    let mut on = |shard: &Arc<Shard>, push: &mut dyn FnMut(&mut Batch)| {
        let entry = batches
            .entry(shard.id)
            .or_insert_with(|| (Arc::clone(shard), Batch::new(0)));
        push(&mut entry.1);
    };
    for (shard, customer_id) in customers {
        if let ([change], Some(doc)) = (changes, work.docs.values().next())
            && let Some(customer) = &doc.new.customer
        {
            let (id, at) = (*customer_id, change.now);
            on(shard, &mut |batch| {
                batch.push_customer_of(
                    (change.tenant_id, &change.origin),
                    id,
                    customer,
                    doc.new.id,
                    at,
                );
            });
        }
    }
    for doc in work.docs.values().filter(|doc| doc.changed) {
        let by = |change: &&NewChange| change.targets().any(|id| id == doc.new.id);
        if let (Some(cold), Some(change)) = (&doc.cold, changes.iter().find(by)) {
            let data = format!("{{\"object_key\": \"{}\"}}", cold.file.object_key);
            on(&doc.shard, &mut |batch| {
                batch.push_event(
                    (change.tenant_id, &change.origin),
                    doc.new.id,
                    "invoice.recalled",
                    &data,
                    // Before the change that it is for.
                    change.now - TimeDelta::microseconds(1),
                );
            });
        }
        if Claim::of(&doc.new) != Claim::of(&doc.old) {
            on(&doc.shard, &mut |batch| batch.push_claim(&doc.new));
        }
        on(&doc.shard, &mut |batch| match &doc.cold {
            Some(_) => batch.push_document(&doc.new),
            None => {
                if doc.new.lines != doc.old.lines {
                    batch.push_lines(&doc.new);
                }
                for payment in &doc.new.payments[doc.old.payments.len()..] {
                    batch.push_payment(&doc.new, payment, doc.new.modified_at);
                }
            }
        });
    }
    for made in &work.made {
        on(&made.shard, &mut |batch| {
            batch.push_document(&made.invoice);
            batch.push_claim(&made.invoice);
        });
    }
    for event in &work.events {
        let change = &changes[event.by];
        let at = event.at;
        on(&place.shards[event.by], &mut |batch| {
            batch.push_event(
                (change.tenant_id, &change.origin),
                event.subject,
                event.event_type,
                &event.data,
                at,
            );
        });
    }
    for (index, (change, outcome)) in changes.iter().zip(outcomes).enumerate() {
        if let Some((idem, answer)) = kept(change, outcome) {
            let status = i16::try_from(answer.status).unwrap_or(500);
            on(&place.shards[index], &mut |batch| {
                let kept = (status, answer.location.as_deref(), answer.body.as_slice());
                batch.push_answer(change.tenant_id, idem, kept, change.now);
            });
        }
    }
    batches.into_values().collect()
}
