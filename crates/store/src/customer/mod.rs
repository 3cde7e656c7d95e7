//! Customers: their records, changes that are never lost, and the events that tell of them.
//!
//! A change reads the record, decides, and writes where the version is still the one that was read.
//! Each commits with its event, and its idempotency key, in one transaction on the tenant's shard.

pub(crate) mod change;
pub(crate) mod erase;
pub(crate) mod merge;
pub(crate) mod record;
pub(crate) mod scrub;

use std::future::Future;

use deadpool_postgres::Transaction;
use sheaf_model::customer::CustomerFields;
use sheaf_model::{Code, Customer, Invalid, Metadata, TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::Page;
pub use crate::customer::record::{Cause, CustomerError, CustomerFilter, CustomerRecord};
use crate::idempotency::KeyError;
use crate::idempotency::key::{CreateOutcome, IdemKey, Replay};
use crate::invoice::decode::JsonbText;
use crate::{Expected, Store, StoreError, idempotency, sql};
use change::{changed, created, deleted, raw};
pub use erase::{ErasureRecord, Held, Pass, Pending};
pub use merge::{MAX_MERGED, Merged};
use sheaf_cluster::Error;
use sheaf_cluster::error::{Failure, classify, commit_failed};

/// Attempts of a change that others got in the way of.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Makes a customer. `answer` renders the body that a replay will give again.
    ///
    /// # Errors
    /// Conflict `duplicate_external_id`; [`StoreError::Idempotency`].
    pub async fn create_customer(
        &self,
        tenant: TenantId,
        fields: &CustomerFields,
        cause: &Cause,
        idem: Option<&IdemKey>,
        answer: impl Fn(&CustomerRecord) -> Vec<u8> + Send + Sync,
    ) -> Result<CreateOutcome<CustomerRecord>, CustomerError> {
        let record = CustomerRecord {
            tenant_id: tenant,
            id: id::new_id(cause.at),
            fields: fields.clone(),
            merged_into: None,
            version: 1,
            created_at: cause.at,
            modified_at: cause.at,
        };
        let years = [id::year_of(record.id)].into();
        self.ensure_years(&years).await?;
        let answer = Replay {
            status: 201,
            location: Some(format!("/v1/customers/{}", record.id)),
            body: answer(&record),
        };
        self.again(|| self.try_create(&record, cause, idem, &answer))
            .await
    }

    async fn try_create(
        &self,
        record: &CustomerRecord,
        cause: &Cause,
        idem: Option<&IdemKey>,
        answer: &Replay,
    ) -> Result<CreateOutcome<CustomerRecord>, Failed> {
        let tenant = record.tenant_id;
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        // Before the customer: the same request, sent twice at once, must meet itself here and not
        // at its external id.
        if let Some(replay) = idempotency::claim(&tx, tenant, idem, cause.at).await? {
            return Ok(CreateOutcome::Replay(replay));
        }
        let (c, metadata) = (&record.fields.customer, raw(&record.fields.metadata)?);
        let params: [&(dyn ToSql + Sync); 11] = [
            &tenant.0,
            &record.id,
            &c.external_id,
            &c.name,
            &c.email,
            &c.tax_id,
            &c.address,
            &c.country,
            &metadata,
            &record.fields.active,
            &record.created_at,
        ];
        let inserted = tx.execute(sql::CUSTOMER_CREATE, &params).await;
        inserted.map_err(|e| taken(e, c.external_id.as_deref()))?;
        let data = created(&record.fields)?;
        cause
            .tell(&tx, tenant, record.id, "customer.created", &data)
            .await?;
        idempotency::answer(&tx, tenant, idem, answer).await?;
        tx.commit().await.map_err(Failed::of_commit)?;
        Ok(CreateOutcome::Created(record.clone()))
    }

    /// One customer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_customer(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<CustomerRecord>, StoreError> {
        self.retry(|| async move {
            let conn = self.lend(tenant).await?;
            let get = conn.prepare_cached(sql::CUSTOMER_GET).await?;
            let row = conn.query_opt(&get, &[&tenant.0, &id]).await?;
            Ok(row.as_ref().map(record))
        })
        .await
    }

    /// Customers with ids below `before` that satisfy the filter, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_customers(
        &self,
        tenant: TenantId,
        filter: &CustomerFilter,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<CustomerRecord>, StoreError> {
        self.retry(|| self.try_list_customers(tenant, filter, before, limit))
            .await
    }

    async fn try_list_customers(
        &self,
        tenant: TenantId,
        filter: &CustomerFilter,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<CustomerRecord>, StoreError> {
        let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&tenant.0, &before, &one_more];
        let mut conditions = String::new();
        for (condition, value) in [
            ("external_id =", &filter.external_id),
            ("tax_id =", &filter.tax_id),
            ("lower(email) = lower", &filter.email),
        ] {
            if let Some(value) = value {
                params.push(value);
                conditions.push_str(&format!("  and {condition}(${}::text)\n", params.len()));
            }
        }
        match filter.active {
            None => {}
            Some(true) => conditions.push_str("  and active\n"),
            Some(false) => conditions.push_str("  and not active\n"),
        }
        let query = sql::CUSTOMER_LIST.replace("{conditions}", &conditions);
        let conn = self.lend(tenant).await?;
        let list = conn.prepare_cached(&query).await?;
        let mut items: Vec<CustomerRecord> = conn
            .query(&list, &params)
            .await?
            .iter()
            .map(record)
            .collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, has_more })
    }

    /// Changes a customer: `change` gives the fields as they are to be. Nothing is written where
    /// nothing changes. `expected`: what the customer's version must be.
    ///
    /// # Errors
    /// [`CustomerError::VersionMismatch`]; conflicts `customer_merged`, `customer_erased` and
    /// `duplicate_external_id`; what `change` says.
    pub async fn update_customer(
        &self,
        tenant: TenantId,
        id: Uuid,
        expected: Option<&Expected>,
        cause: &Cause,
        change: impl Fn(&CustomerFields) -> Result<CustomerFields, Invalid> + Send + Sync,
    ) -> Result<CustomerRecord, CustomerError> {
        self.again(|| self.try_update(tenant, id, expected, cause, &change))
            .await
    }

    async fn try_update(
        &self,
        tenant: TenantId,
        id: Uuid,
        expected: Option<&Expected>,
        cause: &Cause,
        change: &(impl Fn(&CustomerFields) -> Result<CustomerFields, Invalid> + Sync),
    ) -> Result<CustomerRecord, Failed> {
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        let old = read(&tx, tenant, id, expected).await?;
        refuse_merged(&old)?;
        refuse_erased(&tx, &old).await?;
        let fields = change(&old.fields).map_err(CustomerError::Invalid)?;
        if fields == old.fields {
            return Ok(old);
        }
        let (c, metadata) = (&fields.customer, raw(&fields.metadata)?);
        let params: [&(dyn ToSql + Sync); 12] = [
            &tenant.0,
            &id,
            &old.version,
            &c.external_id,
            &c.name,
            &c.email,
            &c.tax_id,
            &c.address,
            &c.country,
            &metadata,
            &fields.active,
            &cause.at,
        ];
        let updated = tx.execute(sql::CUSTOMER_UPDATE, &params).await;
        if updated.map_err(|e| taken(e, c.external_id.as_deref()))? != 1 {
            // Somebody was faster: what they wrote is to be looked at first.
            return Err(Failed::Raced);
        }
        let data = changed(&old.fields, &fields, old.version + 1)?;
        cause
            .tell(&tx, tenant, id, "customer.updated", &data)
            .await?;
        tx.commit().await.map_err(Failed::of_commit)?;
        self.forget_customer(tenant, &old);
        Ok(CustomerRecord {
            fields,
            version: old.version + 1,
            modified_at: cause.at,
            ..old
        })
    }

    /// Deletes a customer that no invoice refers to. What another process has read of it in the
    /// last seconds may still let an invoice in, whose own snapshot of the customer then is all
    /// there is. Its data can still be erased ([`Store::request_erasure`]).
    ///
    /// # Errors
    /// Conflict `customer_in_use` where a hot invoice refers to it, where the tenant has archived
    /// invoices, and where it was merged or others were merged into it;
    /// [`CustomerError::VersionMismatch`].
    pub async fn delete_customer(
        &self,
        tenant: TenantId,
        id: Uuid,
        expected: Option<&Expected>,
        cause: &Cause,
    ) -> Result<(), CustomerError> {
        self.again(|| self.try_delete(tenant, id, expected, cause))
            .await
    }

    async fn try_delete(
        &self,
        tenant: TenantId,
        id: Uuid,
        expected: Option<&Expected>,
        cause: &Cause,
    ) -> Result<(), Failed> {
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        let old = read(&tx, tenant, id, expected).await?;
        // First, so that a merge into it either is seen below or finds it gone.
        let gone = tx
            .execute(sql::CUSTOMER_DELETE, &[&tenant.0, &id, &old.version])
            .await?;
        if gone != 1 {
            return Err(Failed::Raced);
        }
        let merged = tx
            .query_opt(sql::CUSTOMER_MERGED, &[&tenant.0, &id, &1_i64])
            .await?;
        let invoice = tx
            .query_opt(sql::CUSTOMER_ANY_INVOICE, &[&tenant.0, &id])
            .await?;
        let archived = tx
            .query_opt(sql::ARCHIVE_FILE_ANY_PUBLISHED, &[&tenant.0])
            .await?;
        let why = match (old.merged_into, merged, invoice, archived) {
            (Some(into), ..) => Some(format!("it was merged into {into}")),
            (_, Some(_), ..) => Some("other customers were merged into it".to_owned()),
            (_, _, Some(row), _) => Some(format!("invoice {} refers to it", row.get::<_, Uuid>(0))),
            (.., Some(_)) => Some("archived invoices may refer to it".to_owned()),
            (None, None, None, None) => None,
        };
        if let Some(why) = why {
            let detail = format!("{why}: set active to false instead");
            return Err(CustomerError::conflict(Code::CustomerInUse, detail).into());
        }
        let data = deleted(&old.fields, old.version)?;
        cause
            .tell(&tx, tenant, id, "customer.deleted", &data)
            .await?;
        tx.commit().await.map_err(Failed::of_commit)?;
        self.forget_customer(tenant, &old);
        Ok(())
    }

    /// The customers that were merged into this one, at most [`MAX_MERGED`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merged_customers(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.retry(|| async move {
            let conn = self.lend(tenant).await?;
            let find = conn.prepare_cached(sql::CUSTOMER_MERGED).await?;
            let rows = conn.query(&find, &[&tenant.0, &id, &MAX_MERGED]).await?;
            Ok(rows.iter().map(|r| r.get(0)).collect())
        })
        .await
    }

    /// Creates in this process look again; those of other processes do so when what they know has
    /// grown old.
    fn forget_customer(&self, tenant: TenantId, record: &CustomerRecord) {
        self.inner.customers_by_id.remove(&(tenant, record.id));
        if let Some(external_id) = record.fields.customer.external_id.as_deref() {
            self.inner
                .customers_by_key
                .remove(&(tenant, external_id.into()));
        }
    }

    /// Runs a change again where somebody else's got in between. Not after a lost connection: its
    /// commit may have taken effect.
    async fn again<T, F>(&self, change: impl Fn() -> F) -> Result<T, CustomerError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        for attempt in 1..=ATTEMPTS {
            match change().await {
                Ok(done) => return Ok(done),
                Err(Failed::Refused(error)) => return Err(*error),
                Err(Failed::Raced) => tracing::debug!(attempt, "a customer's change met another"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5 << attempt)).await;
            self.inner.cluster.reroute().await;
        }
        let what = "the customer";
        Err(StoreError::from(Error::Contended { what }).into())
    }
}

/// Why an attempt ended.
enum Failed {
    /// Somebody got in between, and nothing was written: the next attempt sees what they wrote.
    Raced,
    Refused(Box<CustomerError>),
}

impl Failed {
    /// A lost answer to a commit is told as such; a race that the commit lost is one.
    fn of_commit(error: tokio_postgres::Error) -> Self {
        match classify(&error) {
            Failure::Unavailable => StoreError::from(commit_failed(error)).into(),
            _ => error.into(),
        }
    }
}

impl From<CustomerError> for Failed {
    fn from(error: CustomerError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        CustomerError::Store(error).into()
    }
}

impl From<KeyError> for Failed {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Db(error) => error.into(),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        match classify(&error) {
            Failure::Retry | Failure::Moved | Failure::Locked => Self::Raced,
            _ => StoreError::from(error).into(),
        }
    }
}

/// A violation of the one unique key that a client can meet.
fn taken(error: tokio_postgres::Error, external_id: Option<&str>) -> Failed {
    if classify(&error) != Failure::Unique {
        return error.into();
    }
    let external_id = external_id.unwrap_or_default();
    let detail = format!("another customer has the external_id {external_id:?}");
    CustomerError::conflict(Code::DuplicateExternalId, detail).into()
}

/// The record, if it has the version that the client expects. Locked, so that changes that meet
/// wait for one another instead of failing; what keeps them from getting lost is the version that
/// they write upon.
async fn read(
    tx: &Transaction<'_>,
    tenant: TenantId,
    id: Uuid,
    expected: Option<&Expected>,
) -> Result<CustomerRecord, Failed> {
    let one = vec![id];
    let row = tx.query_opt(sql::CUSTOMER_LOCK, &[&tenant.0, &one]).await?;
    let record = record(&row.ok_or(CustomerError::NotFound)?);
    let current = record.version;
    if expected.is_some_and(|expected| !expected.allows(current)) {
        return Err(CustomerError::VersionMismatch { current }.into());
    }
    Ok(record)
}

fn refuse_merged(record: &CustomerRecord) -> Result<(), CustomerError> {
    match record.merged_into {
        None => Ok(()),
        Some(into) => Err(CustomerError::conflict(
            Code::CustomerMerged,
            format!("the customer was merged into {into}, which is the one to change"),
        )),
    }
}

/// Once somebody's data was to be erased, none comes back: the receipt of the erasure would no
/// longer be true, and what is made of the record later would not be searched.
async fn refuse_erased(tx: &Transaction<'_>, record: &CustomerRecord) -> Result<(), Failed> {
    let (tenant, id) = (record.tenant_id.0, record.id);
    // An erased record is inactive, and stays so. (An older release could make it active again: the
    // name still tells.)
    let is_erased = (!record.fields.active || record.fields.customer.name == scrub::ERASED_NAME)
        && tx
            .query_opt(sql::ERASURE_GET, &[&tenant, &id])
            .await?
            .is_some();
    if is_erased {
        let detail = "the customer's data was erased: make a new customer";
        return Err(CustomerError::conflict(Code::CustomerErased, detail).into());
    }
    Ok(())
}

fn record(row: &Row) -> CustomerRecord {
    CustomerRecord {
        tenant_id: TenantId(row.get(0)),
        id: row.get(1),
        fields: CustomerFields {
            customer: Customer {
                external_id: row.get(2),
                name: row.get(3),
                email: row.get(4),
                tax_id: row.get(5),
                address: row.get(6),
                country: row.get(7),
            },
            metadata: Metadata::from_stored(row.get::<_, JsonbText>(8).0),
            active: row.get(9),
        },
        merged_into: row.get(10),
        version: row.get(11),
        created_at: row.get(12),
        modified_at: row.get(13),
    }
}
