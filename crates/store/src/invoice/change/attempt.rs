//! One attempt of a batch: lock and read, decide, write, commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deadpool_postgres::Object;
use sheaf_model::invoice::lifecycle::Change;
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::apply::{Doc, Work};
use super::command::NewChange;
use super::named::Records;
use super::needs::{keyed, needs};
use super::write::Decided;
use super::{ChangeError, Known, Outcome, history};
use crate::Store;
use crate::batch::{Abort, Needs};
use crate::cold::file::ColdFiles;
use crate::idempotency::StoredKey;
use crate::invoice::create::lookup;
use crate::invoice::create::lookup::Named;
use crate::invoice::create::write::pairs;
use crate::invoice::decode;
use crate::invoice::ids::Wanted;
use crate::invoice::number;
use crate::invoice::number::Locks;
use crate::invoice::send::Opening;
use crate::setting::number_series::{Archived, Numbers};
use crate::sql::statements::{Find, OnShard, Statement};
use sheaf_cluster::batch::Place;
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::transaction::in_order;

/// Years whose keys must be unique over both tiers, by tenant.
pub(super) type Keyed = BTreeMap<TenantId, BTreeSet<i16>>;
type OfShard<'a, T> = (&'a Arc<Shard>, T);

impl Store {
    pub(super) async fn changes_in(
        &self,
        place: &Place<'_>,
        changes: &[NewChange],
        known: &Known,
    ) -> Result<Vec<Outcome>, Abort> {
        let mut work = self.read(place, changes).await?;
        add_cold(&mut work, place, changes, known)?;
        history::weigh(place, &mut work, changes).await?;
        let (needs, locks) = needs(&self.inner.cluster, &work, changes);
        let mut keyed = keyed(&needs);
        let mut files = self.cold_keys(&keyed, known)?;
        let archived = Archived {
            of_years: &files,
            more: &known.numbers,
        };
        // Sent first, and answered while the numbers are locked.
        let records = async { Ok::<_, Abort>(Records::read(place, &work, changes).await?) };
        let numbers = Numbers::reserve(place, &locks, &needs, archived);
        let (records, numbers) = tokio::try_join!(biased; records, numbers)?;
        (work.customers, work.numbers) = (records, numbers);
        let mut outcomes: Vec<Outcome> = changes
            .iter()
            .enumerate()
            .map(|(index, change)| work.apply(index, change))
            .collect();
        let mut customers = Vec::new();
        if let [change] = changes
            && change.is_edit()
            && outcomes[0].is_ok()
        {
            match self.resolve_edit(place, change, &mut work, known).await? {
                Ok(resolved) => {
                    keyed = resolved.keyed;
                    files = resolved.files;
                    customers = resolved.customer.into_iter().collect();
                    // The customer's id is part of the answer.
                    if let Ok(super::Changed::New(answer)) = &mut outcomes[0] {
                        answer.body = resolved.body;
                    }
                }
                Err(refused) => {
                    place.frame.run(place.conn, "rollback").await?;
                    return Ok(vec![Err(refused)]);
                }
            }
        }
        self.write_changes(
            place,
            changes,
            &Decided {
                work: &work,
                outcomes: &outcomes,
                customers: &customers,
            },
            (&keyed, &files),
        )
        .await?;
        Ok(outcomes)
    }

    /// Begins, holds the shards, locks the invoices, and reads them with what is known of the keys:
    /// one round trip.
    async fn read(&self, place: &Place<'_>, changes: &[NewChange]) -> Result<Work, Abort> {
        let conn = place.conn;
        let mut wanted: BTreeMap<(Uuid, i16), OfShard<'_, BTreeSet<Uuid>>> = BTreeMap::new();
        let mut keys: BTreeMap<Uuid, OfShard<'_, Vec<&str>>> = BTreeMap::new();
        for (change, shard) in changes.iter().zip(place.shards) {
            let tenant = change.tenant_id.0;
            for target in change.targets() {
                let of_year = wanted
                    .entry((tenant, id::year_of(target)))
                    .or_insert_with(|| (shard, BTreeSet::new()));
                of_year.1.insert(target);
            }
            if let Some(idem) = &change.idem {
                let of_tenant = keys.entry(tenant).or_insert_with(|| (shard, Vec::new()));
                of_tenant.1.push(&idem.key);
            }
        }
        // Which locks of numbers it needs, a change knows when it has its invoice.
        let opening = Opening::prepare(place, self.is_citus(), &Locks::default()).await?;
        let mut reads = Vec::with_capacity(wanted.len());
        for ((tenant, year), (shard, ids)) in &wanted {
            let wanted = Wanted::new(*tenant, *year, ids.iter().copied().collect());
            reads.push(Read::prepare(conn, shard, wanted).await?);
        }
        let mut asked = Vec::with_capacity(keys.len());
        for (tenant, (shard, keys)) in &keys {
            let statement = conn
                .prepare_cached(Find::Idempotency.on(Some(shard)))
                .await?;
            asked.push(async move {
                let params: [&(dyn ToSql + Sync); 2] = [tenant, keys];
                conn.query(&statement, &params).await
            });
        }
        let ((), rows, keys) = tokio::try_join!(
            biased;
            opening.send(place),
            in_order(reads.iter().map(|read| read.send(conn))),
            in_order(asked),
        )?;
        let mut work = Work::default();
        let shard_of: BTreeMap<Uuid, &Arc<Shard>> = changes
            .iter()
            .zip(place.shards)
            .map(|(change, shard)| (change.tenant_id.0, shard))
            .collect();
        for (headers, lines, payments) in rows {
            for invoice in decode::assemble(&headers, &lines, &payments).map_err(Abort::Failed)? {
                let Some(shard) = shard_of.get(&invoice.tenant_id.0) else {
                    continue;
                };
                let doc = Doc {
                    shard: Arc::clone(shard),
                    old: invoice.clone(),
                    new: invoice,
                    cold: None,
                    changed: false,
                    history: 0,
                };
                work.docs.insert((doc.new.tenant_id, doc.new.id), doc);
            }
        }
        work.answered = keys.iter().flatten().map(StoredKey::found).collect();
        Ok(work)
    }

    /// The keys of published files in these years, as last seen. The transaction holds locks, and
    /// waits for no archive: whoever needs what is not at hand leaves.
    fn cold_keys(&self, keyed: &Keyed, known: &Known) -> Result<ColdFiles, Abort> {
        let mut files = ColdFiles::new();
        let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
        for (tenant, year) in pairs(keyed) {
            match self.keys_at_hand(tenant, year, &known.keys) {
                Some(of_year) => files.extend(of_year),
                None => {
                    needs.entry(tenant).or_default().years.insert(year);
                }
            }
        }
        if needs.is_empty() {
            Ok(files)
        } else {
            Err(Abort::Needs(needs))
        }
    }
}

/// The statements that lock and read the invoices of one tenant and year.
struct Read {
    statements: [tokio_postgres::Statement; 3],
    wanted: Wanted,
}

impl Read {
    async fn prepare(
        conn: &Object,
        shard: &Shard,
        wanted: Wanted,
    ) -> Result<Self, tokio_postgres::Error> {
        let prepare = |statement| conn.prepare_cached(shard.statement(statement));
        Ok(Self {
            statements: [
                prepare(Statement::LockInvoices).await?,
                prepare(Statement::Lines).await?,
                prepare(Statement::Payments).await?,
            ],
            wanted,
        })
    }

    /// Lines and payments change only under their invoice's lock, and each statement sees what was
    /// committed before it: behind the lock, the three agree.
    async fn send(
        &self,
        conn: &Object,
    ) -> Result<(Vec<Row>, Vec<Row>, Vec<Row>), tokio_postgres::Error> {
        let params = self.wanted.params();
        let [lock, lines, payments] = &self.statements;
        tokio::try_join!(
            biased;
            conn.query(lock, &params),
            conn.query(lines, &params),
            conn.query(payments, &params),
        )
    }
}

/// Takes in what was read from the archive for those that are not hot; asks for what was not yet
/// looked for.
fn add_cold(
    work: &mut Work,
    place: &Place<'_>,
    changes: &[NewChange],
    known: &Known,
) -> Result<(), Abort> {
    let mut missing = Vec::new();
    for (change, shard) in changes.iter().zip(place.shards) {
        for target in change.targets() {
            let key = (change.tenant_id, target);
            if work.docs.contains_key(&key) {
                continue;
            }
            match known.invoices.get(&key) {
                None => missing.push(key),
                Some(None) => {}
                Some(Some(found)) => {
                    let invoice = &found.archived.invoice;
                    let doc = Doc {
                        shard: Arc::clone(shard),
                        old: invoice.clone(),
                        new: invoice.clone(),
                        cold: Some(Arc::clone(found)),
                        changed: false,
                        history: 0,
                    };
                    work.docs.insert(key, doc);
                }
            }
        }
    }
    // A request that was answered needs no invoice.
    let answered = |key: &(TenantId, Uuid)| {
        let of = changes
            .iter()
            .filter(|change| change.tenant_id == key.0 && change.targets().any(|t| t == key.1));
        of.into_iter().all(|change| {
            change.idem.as_ref().is_some_and(|idem| {
                work.answered
                    .contains_key(&(change.tenant_id, idem.key.clone()))
            })
        })
    };
    missing.retain(|key| !answered(key));
    if missing.is_empty() {
        return Ok(());
    }
    let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
    for (tenant, invoice) in missing {
        needs.entry(tenant).or_default().invoices.insert(invoice);
    }
    Err(Abort::Needs(needs))
}

/// What an edit's customer and keys came to.
pub(super) struct Resolved {
    pub(super) keyed: Keyed,
    pub(super) files: ColdFiles,
    /// A customer to be made.
    pub(super) customer: Option<(Arc<Shard>, Uuid)>,
    pub(super) body: Vec<u8>,
}

impl Store {
    /// Finds (or makes) the customer that an edited draft names, and checks that its keys are free.
    async fn resolve_edit(
        &self,
        place: &Place<'_>,
        change: &NewChange,
        work: &mut Work,
        known: &Known,
    ) -> Result<Result<Resolved, ChangeError>, Abort> {
        let key = (change.tenant_id, change.invoice_id);
        let Some(doc) = work.docs.get_mut(&key) else {
            return Ok(Err(ChangeError::NotFound(change.invoice_id)));
        };
        let numbered = number::differ(&doc.new, &doc.old);
        if numbered {
            let locks = number::locks_of(&self.inner.cluster, std::iter::once(&doc.new));
            locks.take(place.conn).await?;
        }
        let year = id::year_of(doc.new.id);
        let named = change.names_customer();
        let found = lookup::ask_edit(place.conn, &doc.shard, &doc.new, &doc.old, named).await?;
        if let Some(existing) = found.external_id {
            return Ok(Err(ChangeError::DuplicateExternalId { existing }));
        }
        if let Some(existing) = found.number {
            return Ok(Err(ChangeError::DuplicateNumber { existing }));
        }
        let mut keyed = Keyed::new();
        if found.keyed {
            keyed.entry(key.0).or_default().insert(year);
        }
        if numbered {
            keyed
                .entry(key.0)
                .or_default()
                .extend(number::years(&doc.new));
        }
        let files = self.cold_keys(&keyed, known)?;
        for (file, keys) in &files {
            let taken = |of: &std::collections::HashMap<Box<str>, Uuid>, name: &Option<String>| {
                let id = name.as_deref().and_then(|name| of.get(name)).copied();
                id.filter(|id| *id != doc.new.id)
            };
            if file.period.year == year
                && let Some(existing) = taken(&keys.external_ids, &doc.new.external_id)
            {
                return Ok(Err(ChangeError::DuplicateExternalId { existing }));
            }
            if let Some(existing) = taken(&keys.numbers, &doc.new.number) {
                return Ok(Err(ChangeError::DuplicateNumber { existing }));
            }
        }
        let mut made = None;
        if named {
            match (&doc.new.customer, doc.new.customer_id, found.customer) {
                (_, _, Named::Inactive) => return Ok(Err(ChangeError::CustomerInactive)),
                (Some(_), None, Named::Record(known)) => doc.new.customer_id = Some(known.id),
                (Some(_), None, Named::Unknown) => {
                    let id = id::new_id(change.now);
                    doc.new.customer_id = Some(id);
                    made = Some((Arc::clone(&doc.shard), id));
                }
                (None, Some(_), Named::Record(known)) => doc.new.customer = Some(known.customer),
                (None, Some(_), Named::Unknown) => return Ok(Err(ChangeError::CustomerNotFound)),
                (None, None, _) | (Some(_), Some(_), _) => {}
            }
            // The edit's event was told before it was known who is meant.
            let told = Change::between(&doc.old, &doc.new);
            if let Some(event) = work.events.iter_mut().find(|e| e.subject == doc.new.id) {
                event.data = told.event(doc.new.version, serde_json::json!({}));
            }
        }
        let body = doc.new.render();
        Ok(Ok(Resolved {
            keyed,
            files,
            customer: made,
            body,
        }))
    }
}
