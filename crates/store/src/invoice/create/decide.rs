//! What becomes of each create of a batch, decided before a row is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sheaf_model::{Customer, TenantId, id};
use uuid::Uuid;

use crate::cold::file::{ArchiveFile, FileKeys};
use crate::idempotency::StoredKey;
use crate::idempotency::key::IdemConflict;
use crate::idempotency::key::Replay;
use crate::invoice::create::customer_ref::CustomerRef;
use crate::invoice::create::lookup;
use crate::invoice::create::lookup::{CustomerRow, Existing};
use crate::invoice::new::NewInvoice;
use crate::invoice::number;

/// The end of one create.
#[derive(Clone, Debug)]
pub enum Outcome {
    Created,
    Replay(Replay),
    Idempotency(IdemConflict),
    DuplicateExternalId(Uuid),
    DuplicateNumber(Uuid),
    DuplicateId,
    CustomerNotFound,
    CustomerInactive,
}

/// The customer that an item gets.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) id: Uuid,
    /// Set where the client sent only the id.
    pub(crate) snapshot: Option<Customer>,
}

/// Decisions by item, and the customers to make.
pub(crate) struct Plan {
    /// `None`: to be written.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    pub(crate) customers: Vec<Option<Resolved>>,
    /// New customers: id, and the item that brings them. Ordered by (tenant, external id), so that
    /// two batches that make the same customers wait for one another instead of deadlocking.
    pub(crate) new_customers: Vec<(TenantId, Uuid, usize)>,
}

/// A customer that is known from earlier batches, as an item names it.
#[derive(Clone, Debug)]
pub(crate) enum KnownCustomer {
    /// Who an external id means.
    ByExternalId(Uuid),
    ById(Arc<CustomerRow>),
}

/// Keys in published files of the cold tier, by file.
pub(crate) type ColdFiles = [(ArchiveFile, Arc<FileKeys>)];

pub(crate) fn plan(
    items: &[NewInvoice],
    refs: &[CustomerRef],
    existing: &Existing,
    cold: &ColdFiles,
    known: &[Option<KnownCustomer>],
    uncertain: &[bool],
) -> Plan {
    let mut plan = Plan {
        outcomes: vec![None; items.len()],
        customers: vec![None; items.len()],
        new_customers: Vec::new(),
    };
    let mut seen = Seen::new(existing);
    let mut making: BTreeMap<(TenantId, &str), (Uuid, usize)> = BTreeMap::new();
    let by_external_id: HashMap<(TenantId, &str), &CustomerRow> = existing
        .customers
        .iter()
        .filter_map(|c| Some(((c.tenant, c.customer.external_id.as_deref()?), c)))
        .collect();
    let by_id: HashMap<(TenantId, Uuid), &CustomerRow> = existing
        .customers
        .iter()
        .map(|c| ((c.tenant, c.id), c))
        .collect();
    let meant = |named: &CustomerRow| {
        let survivor = |into| by_id.get(&(named.tenant, into)).copied();
        lookup::meant(named, survivor).map(|record| record.id)
    };

    for (index, new) in items.iter().enumerate() {
        let invoice = &new.invoice;
        let tenant = invoice.tenant_id;
        if let Some(outcome) = seen
            .judge(new, uncertain[index])
            .or_else(|| cold_conflict(new, cold))
        {
            plan.outcomes[index] = Some(outcome);
            continue;
        }
        plan.customers[index] = match (refs[index], &invoice.customer, invoice.customer_id) {
            (CustomerRef::ById, _, Some(id)) => {
                let row = match &known[index] {
                    Some(KnownCustomer::ById(row)) => Some(&**row),
                    _ => by_id.get(&(tenant, id)).copied(),
                };
                let Some(row) = row.filter(|row| row.active) else {
                    plan.outcomes[index] = Some(match row {
                        Some(_) => Outcome::CustomerInactive,
                        None => Outcome::CustomerNotFound,
                    });
                    continue;
                };
                let snapshot = Some(row.customer.clone());
                Some(Resolved { id, snapshot })
            }
            (CustomerRef::ByExternalId, Some(customer), _) => {
                let key = customer.external_id.as_deref().unwrap_or_default();
                let new_at = new.at;
                let mut new = || {
                    let made = making.entry((tenant, key));
                    made.or_insert_with(|| (id::new_id(new_at), index)).0
                };
                let id = match (&known[index], by_external_id.get(&(tenant, key))) {
                    (Some(KnownCustomer::ByExternalId(id)), _) => Some(*id),
                    (_, Some(named)) => meant(named),
                    (_, None) => Some(new()),
                };
                let Some(id) = id else {
                    plan.outcomes[index] = Some(Outcome::CustomerInactive);
                    continue;
                };
                Some(Resolved { id, snapshot: None })
            }
            _ => None,
        };
        seen.add(new);
    }
    plan.new_customers = making
        .into_iter()
        .map(|((tenant, _), (id, index))| (tenant, id, index))
        .collect();
    plan
}

/// Keys that are taken in the hot tier or by an earlier item of the batch.
struct Seen<'a> {
    ids: HashMap<(TenantId, Uuid), Option<chrono::DateTime<chrono::Utc>>>,
    external_ids: HashMap<(TenantId, i16, &'a str), Uuid>,
    /// By each year in which they are taken.
    numbers: HashMap<(TenantId, i16, &'a str), Uuid>,
    stored_keys: HashMap<(TenantId, &'a str), &'a StoredKey>,
    keys_in_batch: HashSet<(TenantId, &'a str)>,
}

impl<'a> Seen<'a> {
    fn new(existing: &'a Existing) -> Self {
        Self {
            ids: existing
                .ids
                .iter()
                .map(|(t, id, at)| ((*t, *id), Some(*at)))
                .collect(),
            external_ids: existing
                .external_ids
                .iter()
                .map(|k| ((k.tenant, k.year, k.key.as_str()), k.id))
                .collect(),
            numbers: existing
                .numbers
                .iter()
                .map(|k| ((k.tenant, k.year, k.key.as_str()), k.id))
                .collect(),
            stored_keys: existing
                .idempotency
                .iter()
                .map(|((tenant, key), stored)| ((*tenant, key.as_str()), stored))
                .collect(),
            keys_in_batch: HashSet::new(),
        }
    }

    fn judge(&self, new: &'a NewInvoice, uncertain: bool) -> Option<Outcome> {
        let invoice = &new.invoice;
        let (tenant, year) = (invoice.tenant_id, id::year_of(invoice.id));
        // Our own row from a commit whose answer got lost: same id, written at the same
        // microsecond.
        let there = self.ids.get(&(tenant, invoice.id));
        if uncertain && there == Some(&Some(invoice.created_at)) {
            return Some(Outcome::Created);
        }
        if let Some(idem) = &new.idem {
            if let Some(stored) = self.stored_keys.get(&(tenant, idem.key.as_str())) {
                return Some(match stored.judge(&idem.fingerprint) {
                    Ok(replay) => Outcome::Replay(replay.clone()),
                    Err(conflict) => Outcome::Idempotency(conflict),
                });
            }
            if self.keys_in_batch.contains(&(tenant, idem.key.as_str())) {
                return Some(Outcome::Idempotency(IdemConflict::Running));
            }
        }
        if let Some(key) = invoice.external_id.as_deref()
            && let Some(existing) = self.external_ids.get(&(tenant, year, key))
        {
            return Some(Outcome::DuplicateExternalId(*existing));
        }
        if there.is_some() {
            return Some(Outcome::DuplicateId);
        }
        let number = invoice.number.as_deref()?;
        number::years(invoice)
            .find_map(|year| self.numbers.get(&(tenant, year, number)))
            .map(|existing| Outcome::DuplicateNumber(*existing))
    }

    fn add(&mut self, new: &'a NewInvoice) {
        let invoice = &new.invoice;
        let (tenant, year) = (invoice.tenant_id, id::year_of(invoice.id));
        if new.id_from.may_exist() {
            self.ids.insert((tenant, invoice.id), None);
        }
        if let Some(key) = invoice.external_id.as_deref() {
            self.external_ids.insert((tenant, year, key), invoice.id);
        }
        if let Some(number) = invoice.number.as_deref() {
            for year in number::years(invoice) {
                self.numbers.insert((tenant, year, number), invoice.id);
            }
        }
        if let Some(idem) = &new.idem {
            self.keys_in_batch.insert((tenant, idem.key.as_str()));
        }
    }
}

fn cold_conflict(new: &NewInvoice, cold: &ColdFiles) -> Option<Outcome> {
    let invoice = &new.invoice;
    let year = id::year_of(invoice.id);
    let of_tenant = || {
        cold.iter()
            .filter(|(f, _)| f.tenant_id == invoice.tenant_id)
    };
    let files = || of_tenant().filter(|(f, _)| f.period.year == year);
    let external_id = invoice.external_id.as_deref();
    if let Some(existing) =
        external_id.and_then(|e| files().find_map(|(_, k)| k.external_ids.get(e)))
    {
        return Some(Outcome::DuplicateExternalId(*existing));
    }
    if new.id_from.may_exist() && files().any(|(_, k)| k.ids.contains(&invoice.id)) {
        return Some(Outcome::DuplicateId);
    }
    let number = invoice.number.as_deref()?;
    of_tenant()
        .filter(|(f, _)| number::years(invoice).any(|year| year == f.period.year))
        .find_map(|(_, k)| k.numbers.get(number))
        .map(|existing| Outcome::DuplicateNumber(*existing))
}
