//! What a batch of creates must know before it writes: taken ids, external ids and numbers,
//! customers, and idempotency keys. One statement a question and tenant, all of them sent at once,
//! straight to the tenant's shard: what PostgreSQL plans alone it plans anew when the table's
//! statistics change (docs/decisions/0010-index-of-metadata.md).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use sheaf_model::{Customer, Invoice, TenantId, id};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::idempotency::StoredKey;
use crate::invoice::create::customer_ref::CustomerRef;
use crate::invoice::create::decide::KnownCustomer;
use crate::invoice::new::NewInvoice;
use crate::invoice::number;
use crate::invoice::number::Claim;
use crate::sql;
use crate::sql::statements::Find;
use sheaf_cluster::batch::Place;
use sheaf_cluster::routing::shard::Shard;

/// A key that is taken, and by which invoice.
pub(crate) struct Taken {
    pub(crate) tenant: TenantId,
    pub(crate) year: i16,
    pub(crate) key: String,
    pub(crate) id: Uuid,
}

/// A customer's record. A new document may name it by its id while it is active; by its external
/// id, [`meant`] says who that is.
#[derive(Clone, Debug)]
pub(crate) struct CustomerRow {
    pub(crate) tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) customer: Customer,
    pub(crate) active: bool,
    /// Who is meant where this one is named by its external id.
    pub(crate) merged_into: Option<Uuid>,
}

/// Who is meant by the external id of `named`: the survivor, where it was merged. `None` where new
/// documents may not name it. `by_id` finds the record of a survivor.
pub(crate) fn meant<'a>(
    named: &'a CustomerRow,
    by_id: impl Fn(Uuid) -> Option<&'a CustomerRow>,
) -> Option<&'a CustomerRow> {
    let record = match named.merged_into {
        None => Some(named),
        Some(into) => by_id(into),
    };
    record.filter(|record| record.active)
}

/// The answers.
#[derive(Default)]
pub(crate) struct Existing {
    pub(crate) ids: Vec<(TenantId, Uuid, DateTime<Utc>)>,
    pub(crate) external_ids: Vec<Taken>,
    pub(crate) numbers: Vec<Taken>,
    pub(crate) customers: Vec<CustomerRow>,
    pub(crate) idempotency: Vec<((TenantId, String), StoredKey)>,
}

/// Questions by tenant.
pub(crate) type Questions = BTreeMap<Uuid, Question>;

/// What to ask of one tenant.
#[derive(Default)]
pub(crate) struct Question {
    years: BTreeMap<i16, Keys>,
    customer_external_ids: BTreeSet<String>,
    customer_ids: BTreeSet<Uuid>,
    keys: Vec<String>,
}

impl Question {
    fn is_empty(&self) -> bool {
        self.customer_external_ids.is_empty()
            && self.customer_ids.is_empty()
            && self.keys.is_empty()
            && self.years.values().all(Keys::is_empty)
    }
}

/// Keys of one year's invoices. One year a statement: with a list of years the planner gives up the
/// key as an index condition and reads all that the tenant has.
#[derive(Default)]
struct Keys {
    ids: Vec<Uuid>,
    external_ids: Vec<String>,
    numbers: Vec<String>,
}

impl Keys {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.external_ids.is_empty() && self.numbers.is_empty()
    }
}

/// Asks everything that is to be known of `items`.
pub(crate) async fn ask_all(
    place: &Place<'_>,
    items: &[NewInvoice],
    questions: Questions,
) -> Result<Existing, Error> {
    let held = if place.direct { place.shards } else { &[] };
    let shard_of: BTreeMap<Uuid, &Shard> = items
        .iter()
        .zip(held)
        .map(|(new, shard)| (new.invoice.tenant_id.0, &**shard))
        .collect();
    let asked = questions.into_iter().map(|(tenant, question)| {
        let shard = shard_of.get(&tenant).copied();
        ask(place.conn, shard, tenant, question)
    });
    let mut found = Existing::default();
    for answer in try_join_all(asked).await? {
        found.ids.extend(answer.ids);
        found.external_ids.extend(answer.external_ids);
        found.numbers.extend(answer.numbers);
        found.customers.extend(answer.customers);
        found.idempotency.extend(answer.idempotency);
    }
    Ok(found)
}

/// What the batch needs to know, by tenant; nothing where there is nothing to ask. Asks also for
/// the ids of items that are `uncertain`, not only for those that clients chose: after a commit
/// whose outcome is unknown.
pub(crate) fn questions(
    items: &[NewInvoice],
    refs: &[CustomerRef],
    known: &[Option<KnownCustomer>],
    uncertain: &[bool],
) -> Questions {
    let mut questions = Questions::new();
    for (index, new) in items.iter().enumerate() {
        let invoice = &new.invoice;
        let q = questions.entry(invoice.tenant_id.0).or_default();
        let of_year = q.years.entry(id::year_of(invoice.id)).or_default();
        if new.id_from.may_exist() || uncertain[index] {
            of_year.ids.push(invoice.id);
        }
        of_year.external_ids.extend(invoice.external_id.clone());
        of_year.numbers.extend(invoice.number.clone());
        if let Some(Claim { number, year }) = Claim::of(invoice) {
            let of_issue = q.years.entry(year).or_default();
            of_issue.numbers.push(number.to_owned());
        }
        q.keys.extend(new.idem.as_ref().map(|i| i.key.clone()));
        if known[index].is_some() {
            continue;
        }
        // As the client named it: an earlier attempt has filled in the rest.
        match refs[index] {
            CustomerRef::ByExternalId => {
                let customer = invoice.customer.as_ref();
                let external_id = customer.and_then(|c| c.external_id.clone());
                q.customer_external_ids.extend(external_id);
            }
            CustomerRef::ById => q.customer_ids.extend(invoice.customer_id),
            CustomerRef::None => {}
        }
    }
    questions.retain(|_, q| !q.is_empty());
    questions
}

/// What an edited draft must know.
pub(crate) struct EditAnswers {
    /// Another invoice that has its new external id.
    pub(crate) external_id: Option<Uuid>,
    /// Another invoice that has its new number.
    pub(crate) number: Option<Uuid>,
    /// The customer that the edit names.
    pub(crate) customer: Named,
    /// Whether it has a key that it did not have before.
    pub(crate) keyed: bool,
}

/// What the customer that an edit names came to.
pub(crate) enum Named {
    /// The edit names none, or one that is not there.
    Unknown,
    /// New documents may not name it.
    Inactive,
    Record(CustomerRow),
}

/// Asks for the keys that are new on `new`, and for its customer, where the edit names one.
pub(crate) async fn ask_edit(
    conn: &Object,
    shard: &Shard,
    new: &Invoice,
    old: &Invoice,
    names_customer: bool,
) -> Result<EditAnswers, Error> {
    let external_id = new.external_id.clone();
    let keys = Keys {
        external_ids: external_id
            .filter(|key| Some(key) != old.external_id.as_ref())
            .into_iter()
            .collect(),
        ..Keys::default()
    };
    let mut years = BTreeMap::from([(id::year_of(new.id), keys)]);
    if number::differ(new, old) {
        for year in number::years(new) {
            let of_year: &mut Keys = years.entry(year).or_default();
            of_year.numbers.extend(new.number.clone());
        }
    }
    let keyed = !years.values().all(Keys::is_empty);
    let mut question = Question {
        years,
        ..Question::default()
    };
    match (&new.customer, new.customer_id) {
        _ if !names_customer => {}
        (Some(customer), None) => question
            .customer_external_ids
            .extend(customer.external_id.clone()),
        (None, Some(id)) => question.customer_ids.extend([id]),
        _ => {}
    }
    let found = ask(conn, Some(shard), new.tenant_id.0, question).await?;
    let other = |taken: Vec<Taken>| taken.iter().map(|t| t.id).find(|id| *id != new.id);
    Ok(EditAnswers {
        customer: named(new, &found.customers),
        external_id: other(found.external_ids),
        number: other(found.numbers),
        keyed,
    })
}

/// Whom `new` names, of the records that were found: the named one, and the survivor where that was
/// merged.
fn named(new: &Invoice, found: &[CustomerRow]) -> Named {
    let by_id = |id| found.iter().find(|row| row.id == id);
    let key = |row: &&CustomerRow| {
        let named = new.customer.as_ref();
        row.customer.external_id == named.and_then(|customer| customer.external_id.clone())
    };
    let (record, meant) = match new.customer_id {
        Some(id) => {
            let record = by_id(id);
            (record, record.filter(|record| record.active))
        }
        None => {
            let record = found.iter().find(key);
            (record, record.and_then(|record| meant(record, by_id)))
        }
    };
    match (record, meant) {
        (None, _) => Named::Unknown,
        (Some(_), None) => Named::Inactive,
        (Some(_), Some(record)) => Named::Record(record.clone()),
    }
}

/// The records of customers, with those that they were merged into.
pub(crate) async fn ask_customers(
    conn: &Object,
    shard: &Shard,
    tenant: TenantId,
    ids: BTreeSet<Uuid>,
) -> Result<Vec<CustomerRow>, Error> {
    let question = Question {
        customer_ids: ids,
        ..Question::default()
    };
    let found = ask(conn, Some(shard), tenant.0, question).await?;
    Ok(found.customers)
}

/// The versions of the profiles of these tenants; none where a tenant has set none. By the
/// transaction's own connection, on the table as a whole, which Citus routes.
pub(crate) async fn ask_profiles(
    conn: &Object,
    items: &[NewInvoice],
) -> Result<BTreeMap<TenantId, i64>, Error> {
    let tenants: BTreeSet<TenantId> = items.iter().map(|new| new.invoice.tenant_id).collect();
    let statement = conn.prepare_cached(sql::PROFILE_VERSION).await?;
    let asked = tenants.iter().map(|tenant| {
        let statement = &statement;
        async move { conn.query_opt(statement, &[&tenant.0]).await }
    });
    let found = try_join_all(asked).await?;
    let known = tenants.iter().zip(&found);
    Ok(known
        .filter_map(|(tenant, row)| Some((*tenant, row.as_ref()?.get(0))))
        .collect())
}

/// Sends the statements that have something to ask; they travel together, since their futures are
/// polled together.
async fn ask(
    conn: &Object,
    shard: Option<&Shard>,
    tenant: Uuid,
    q: Question,
) -> Result<Existing, Error> {
    let customer_keys: Vec<String> = q.customer_external_ids.into_iter().collect();
    let customer_ids: Vec<Uuid> = q.customer_ids.into_iter().collect();
    let of_year = |(year, keys)| ask_year(conn, shard, tenant, year, keys);
    let (years, by_external_id, by_id, keys) = tokio::try_join!(
        try_join_all(q.years.into_iter().map(of_year)),
        run(
            conn,
            Find::CustomerExternalIds.on(shard),
            customer_keys.is_empty(),
            vec![&tenant, &customer_keys]
        ),
        run(
            conn,
            Find::Customers.on(shard),
            customer_ids.is_empty(),
            vec![&tenant, &customer_ids]
        ),
        run(
            conn,
            Find::Idempotency.on(shard),
            q.keys.is_empty(),
            vec![&tenant, &q.keys]
        ),
    )?;
    let mut customers: Vec<CustomerRow> =
        by_external_id.iter().chain(&by_id).map(customer).collect();
    let survivors: Vec<Uuid> = customers.iter().filter_map(|c| c.merged_into).collect();
    let of_merged = run(
        conn,
        Find::Customers.on(shard),
        survivors.is_empty(),
        vec![&tenant, &survivors],
    );
    customers.extend(of_merged.await?.iter().map(customer));
    let mut found = Existing {
        customers,
        idempotency: keys.iter().map(StoredKey::found).collect(),
        ..Existing::default()
    };
    for (ids, external_ids, numbers) in years {
        let id = |r: &Row| (TenantId(r.get(0)), r.get(1), r.get(2));
        found.ids.extend(ids.iter().map(id));
        found.external_ids.extend(external_ids.iter().map(taken));
        found.numbers.extend(numbers.iter().map(taken));
    }
    Ok(found)
}

async fn ask_year(
    conn: &Object,
    shard: Option<&Shard>,
    tenant: Uuid,
    year: i16,
    keys: Keys,
) -> Result<(Vec<Row>, Vec<Row>, Vec<Row>), Error> {
    tokio::try_join!(
        run(
            conn,
            Find::Ids.on(shard),
            keys.ids.is_empty(),
            vec![&tenant, &year, &keys.ids]
        ),
        run(
            conn,
            Find::ExternalIds.on(shard),
            keys.external_ids.is_empty(),
            vec![&tenant, &year, &keys.external_ids]
        ),
        number::find(conn, shard, tenant, year, &keys.numbers),
    )
}

async fn run(
    conn: &Object,
    sql: &str,
    skip: bool,
    params: Vec<&(dyn ToSql + Sync)>,
) -> Result<Vec<Row>, Error> {
    if skip {
        return Ok(Vec::new());
    }
    let statement = conn.prepare_cached(sql).await?;
    conn.query(&statement, &params).await
}

fn taken(row: &Row) -> Taken {
    Taken {
        tenant: TenantId(row.get(0)),
        id: row.get(1),
        year: row.get(2),
        key: row.get(3),
    }
}

fn customer(row: &Row) -> CustomerRow {
    CustomerRow {
        tenant: TenantId(row.get(0)),
        id: row.get(1),
        customer: Customer {
            external_id: row.get(2),
            name: row.get(3),
            email: row.get(4),
            tax_id: row.get(5),
            address: row.get(6),
            country: row.get(7),
        },
        active: row.get(8),
        merged_into: row.get(9),
    }
}
