//! What a batch of creates must know before it writes: taken ids, external ids and numbers, customers, and
//! idempotency keys. One statement a question for the whole batch, all of them sent at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use sheaf_model::{Customer, TenantId, id};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::sql;
use crate::types::{NewInvoice, Replay};

/// A key that is taken, and by which invoice.
pub(crate) struct Taken {
    pub(crate) tenant: TenantId,
    pub(crate) year: i16,
    pub(crate) key: String,
    pub(crate) id: Uuid,
}

/// A customer's record.
#[derive(Clone, Debug)]
pub(crate) struct CustomerRow {
    pub(crate) tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) customer: Customer,
}

/// A stored idempotency key; no answer while its request runs.
pub(crate) struct StoredKey {
    pub(crate) tenant: TenantId,
    pub(crate) key: String,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) replay: Option<Replay>,
}

/// The answers.
#[derive(Default)]
pub(crate) struct Existing {
    pub(crate) ids: Vec<(TenantId, Uuid, DateTime<Utc>)>,
    pub(crate) external_ids: Vec<Taken>,
    pub(crate) numbers: Vec<Taken>,
    pub(crate) customers: Vec<CustomerRow>,
    pub(crate) idempotency: Vec<StoredKey>,
}

/// Columns of parallel arrays: the `n`th entries of a question belong together.
#[derive(Default)]
struct Question {
    ids: (Vec<Uuid>, Vec<i16>, Vec<Uuid>),
    external_ids: (Vec<Uuid>, Vec<i16>, Vec<String>),
    numbers: (Vec<Uuid>, Vec<i16>, Vec<String>),
    customer_external_ids: BTreeSet<(Uuid, String)>,
    customer_ids: BTreeSet<(Uuid, Uuid)>,
    keys: (Vec<Uuid>, Vec<String>),
}

/// Asks everything that the batch needs. `all_ids` asks for the ids of all items, not only of those that clients
/// chose: after a commit whose outcome is unknown.
pub(crate) async fn existing(
    tx: &Transaction<'_>,
    items: &[NewInvoice],
    customer_known: impl Fn(&NewInvoice) -> bool,
    all_ids: bool,
) -> Result<Existing, Error> {
    let q = question(items, customer_known, all_ids);
    let (customer_tenants, customer_keys): (Vec<Uuid>, Vec<String>) =
        q.customer_external_ids.into_iter().unzip();
    let (id_tenants, customer_ids): (Vec<Uuid>, Vec<Uuid>) = q.customer_ids.into_iter().unzip();
    // The statements travel together, since their futures are polled together.
    let (ids, external_ids, numbers, by_external_id, by_id, keys) = tokio::try_join!(
        run(
            tx,
            sql::INVOICE_FIND_IDS,
            &q.ids.0,
            vec![&q.ids.1, &q.ids.2]
        ),
        run(
            tx,
            sql::INVOICE_FIND_EXTERNAL_IDS,
            &q.external_ids.0,
            vec![&q.external_ids.1, &q.external_ids.2]
        ),
        run(
            tx,
            sql::INVOICE_FIND_NUMBERS,
            &q.numbers.0,
            vec![&q.numbers.1, &q.numbers.2]
        ),
        run(
            tx,
            sql::CUSTOMER_FIND_EXTERNAL_IDS,
            &customer_tenants,
            vec![&customer_keys]
        ),
        run(tx, sql::CUSTOMER_FIND_IDS, &id_tenants, vec![&customer_ids]),
        run(tx, sql::IDEMPOTENCY_FIND, &q.keys.0, vec![&q.keys.1]),
    )?;
    Ok(Existing {
        ids: ids
            .iter()
            .map(|r| (TenantId(r.get(0)), r.get(1), r.get(2)))
            .collect(),
        external_ids: external_ids.iter().map(taken).collect(),
        numbers: numbers.iter().map(taken).collect(),
        customers: by_external_id.iter().chain(&by_id).map(customer).collect(),
        idempotency: keys.iter().map(stored_key).collect(),
    })
}

fn question(
    items: &[NewInvoice],
    customer_known: impl Fn(&NewInvoice) -> bool,
    all_ids: bool,
) -> Question {
    let mut q = Question::default();
    for new in items {
        let invoice = &new.invoice;
        let (tenant, year) = (invoice.tenant_id.0, id::year_of(invoice.id));
        if new.client_id || all_ids {
            push(&mut q.ids, tenant, year, invoice.id);
        }
        if let Some(external_id) = &invoice.external_id {
            push(&mut q.external_ids, tenant, year, external_id.clone());
        }
        if let Some(number) = &invoice.number {
            push(&mut q.numbers, tenant, year, number.clone());
        }
        if let Some(idem) = &new.idem {
            q.keys.0.push(tenant);
            q.keys.1.push(idem.key.clone());
        }
        if customer_known(new) {
            continue;
        }
        match (&invoice.customer, invoice.customer_id) {
            (
                Some(Customer {
                    external_id: Some(external_id),
                    ..
                }),
                _,
            ) => {
                q.customer_external_ids
                    .insert((tenant, external_id.clone()));
            }
            (None, Some(id)) => {
                q.customer_ids.insert((tenant, id));
            }
            _ => {}
        }
    }
    q
}

fn push<K>(columns: &mut (Vec<Uuid>, Vec<i16>, Vec<K>), tenant: Uuid, year: i16, key: K) {
    columns.0.push(tenant);
    columns.1.push(year);
    columns.2.push(key);
}

/// `tenants` is the first parameter; nothing is asked where it is empty.
async fn run<'a>(
    tx: &Transaction<'_>,
    sql: &str,
    tenants: &'a Vec<Uuid>,
    mut keys: Vec<&'a (dyn ToSql + Sync)>,
) -> Result<Vec<Row>, Error> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    keys.insert(0, tenants);
    let statement = tx.prepare_cached(sql).await?;
    tx.query(&statement, &keys).await
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
    }
}

fn stored_key(row: &Row) -> StoredKey {
    let status: Option<i16> = row.get(3);
    StoredKey {
        tenant: TenantId(row.get(0)),
        key: row.get(1),
        fingerprint: row.get(2),
        replay: status.map(|status| Replay {
            status: u16::try_from(status).unwrap_or(500),
            location: row.get(4),
            body: row.get::<_, Option<Vec<u8>>>(5).unwrap_or_default(),
        }),
    }
}
