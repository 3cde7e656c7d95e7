//! The customers that changes give documents to: a draft that is issued, a credit note, a set-off.
//!
//! The rules are those of a new invoice ([`crate::invoice::create::lookup::CustomerRow`]): who is
//! not active gets no new document. What was issued can be corrected all the same; who was merged
//! since is the survivor then, and who was erased stays erased.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join_all;
use sheaf_model::{Customer, Invoice, TenantId};
use tokio_postgres::Error;
use uuid::Uuid;

use super::ChangeError;
use super::apply::Work;
use super::command::{Command, NewChange};
use crate::customer::scrub;
use crate::invoice::create::lookup;
use crate::invoice::create::lookup::CustomerRow;
use crate::sql::statements::{OnShard, Statement};
use sheaf_cluster::batch::Place;
use sheaf_cluster::routing::shard::Shard;

/// Whether a document comes of it that does not change any more.
fn ends_a_draft(command: &Command) -> bool {
    matches!(
        command,
        Command::Issue { .. } | Command::Credit(_) | Command::Cancel { .. }
    )
}

/// Records of customers, with those that they were merged into, and the versions of the tenants'
/// profiles.
#[derive(Default)]
pub(super) struct Records {
    customers: BTreeMap<(TenantId, Uuid), CustomerRow>,
    profiles: BTreeMap<TenantId, i64>,
}

impl Records {
    /// Reads the records of those that the batch's changes give a document to, and the profiles of
    /// those that give one.
    pub(super) async fn read(
        place: &Place<'_>,
        work: &Work,
        changes: &[NewChange],
    ) -> Result<Self, Error> {
        let mut wanted: BTreeMap<TenantId, (&Arc<Shard>, BTreeSet<Uuid>)> = BTreeMap::new();
        let gives = |change: &&NewChange| {
            let command = &change.command;
            matches!(
                command,
                Command::Issue { .. } | Command::Credit(_) | Command::Apply { .. }
            )
        };
        for change in changes.iter().filter(gives) {
            for target in change.targets() {
                if let Some(doc) = work.docs.get(&(change.tenant_id, target))
                    && let Some(customer) = doc.new.customer_id
                {
                    let of_tenant = wanted.entry(change.tenant_id);
                    let (_, ids) = of_tenant.or_insert_with(|| (&doc.shard, BTreeSet::new()));
                    ids.insert(customer);
                }
            }
        }
        let asked = wanted
            .into_iter()
            .map(|(tenant, (shard, ids))| lookup::ask_customers(place.conn, shard, tenant, ids));
        let issuing: BTreeMap<TenantId, &Arc<Shard>> = changes
            .iter()
            .filter(|change| ends_a_draft(&change.command))
            .filter_map(|change| {
                let doc = work.docs.get(&(change.tenant_id, change.invoice_id))?;
                Some((change.tenant_id, &doc.shard))
            })
            .collect();
        let profiles = issuing.iter().map(|(tenant, shard)| async move {
            let get = shard.statement(Statement::Profile);
            let get = place.conn.prepare_cached(get).await?;
            let row = place.conn.query_opt(&get, &[&tenant.0]).await?;
            Ok::<_, Error>(row.map(|row| (*tenant, row.get(0))))
        });
        let (rows, profiles) = tokio::try_join!(try_join_all(asked), try_join_all(profiles))?;
        let rows = rows.into_iter().flatten();
        Ok(Self {
            customers: rows.map(|row| ((row.tenant, row.id), row)).collect(),
            profiles: profiles.into_iter().flatten().collect(),
        })
    }

    /// From now on the document shows the tenant's profile as it is now, whatever becomes of that.
    pub(super) fn freeze_profile(&self, document: &mut Invoice) {
        document.profile_version = self.profiles.get(&document.tenant_id).copied();
    }

    /// Whether the document may be given to its customer now.
    pub(super) fn may_receive(&self, document: &Invoice) -> Result<(), ChangeError> {
        let Some(id) = document.customer_id else {
            return Ok(());
        };
        match self.customers.get(&(document.tenant_id, id)) {
            None => Err(ChangeError::CustomerNotFound),
            Some(record) if !record.active => Err(ChangeError::CustomerInactive),
            Some(_) => Ok(()),
        }
    }

    /// A document that was not hot when its customer was merged gets the survivor now, as the merge
    /// gave it to those that were.
    pub(super) fn follow_merge(&self, document: &mut Invoice) {
        let survivor = document
            .customer_id
            .and_then(|id| self.customers.get(&(document.tenant_id, id)))
            .and_then(|record| record.merged_into);
        if survivor.is_some() {
            document.customer_id = survivor;
        }
    }

    /// A document that is made of another one shows nothing that was erased since.
    pub(super) fn hide_erased(&self, made: &mut Invoice) {
        let record = made
            .customer_id
            .and_then(|id| self.customers.get(&(made.tenant_id, id)));
        if record.is_some_and(|record| scrub::is_erased(&record.customer))
            && let Some(shown) = &mut made.customer
        {
            *shown = Customer {
                name: scrub::ERASED_NAME.to_owned(),
                country: shown.country.take(),
                ..Customer::default()
            };
        }
    }
}
