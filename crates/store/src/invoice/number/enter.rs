//! What releases before this table have left: documents whose years differ and which have no row
//! that says so, and numbers that two documents have. The rows are entered, tenant by tenant, a few
//! hundred at once, while everybody works; it may be stopped, and run again. Duplicates are told
//! and left as they are: which of the two is wrong, no program knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::NaiveDate;
use deadpool_postgres::Object;
use serde::Serialize;
use sheaf_model::{TenantId, id};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Locks, collisions, lock_of, year_of};
use crate::batch::Abort;
use crate::invoice::encode::Batch;
use crate::invoice::ids::Wanted;
use crate::invoice::send::{Opening, write};
use crate::sql::statements::{Find, OnShard, Statement};
use crate::{SERIES_YEAR, Store, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::batch::after_failure;
use sheaf_cluster::batch::{Frame, Place};
use sheaf_cluster::error::{Failure, classify};
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::transaction::Session;

/// Documents that are read at once, and of which rows are entered at once.
const PAGE: i64 = 2_000;
/// Duplicates that are listed, of a tenant's series and in all; further ones are counted.
const LISTED: i64 = 1_000;
const MAX_LISTED: usize = 1_000;
const ATTEMPTS: u32 = 8;

/// A document that was issued in another year than that of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedDocument {
    /// The document.
    pub id: Uuid,
    /// Its number.
    pub number: String,
    /// Its day of issue.
    pub issue_date: NaiveDate,
}

impl NumberedDocument {
    /// Whether its number has to be entered for its year of issue.
    #[must_use]
    pub fn is_of_two_years(&self) -> bool {
        year_of(self.issue_date) != id::year_of(self.id)
    }
}

/// A number that is on several documents of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DuplicateNumber {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub number: String,
    /// The year in which both have it; none where a series that runs through the years gave it
    /// twice.
    pub year: Option<i16>,
    /// The documents.
    pub invoice_ids: Vec<Uuid>,
}

/// What was entered, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnteredNumbers {
    /// Documents with a number that were looked at.
    pub documents: u64,
    /// Rows that were missing.
    pub entered: u64,
    /// Numbers that several documents have.
    pub duplicated: u64,
    /// The first 1,000 of them.
    pub duplicates: Vec<DuplicateNumber>,
}

impl EnteredNumbers {
    /// These, and those of another tenant or tier.
    pub fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.entered += other.entered;
        self.duplicated += other.duplicated;
        let room = MAX_LISTED.saturating_sub(self.duplicates.len());
        self.duplicates
            .extend(other.duplicates.into_iter().take(room));
    }

    /// Enters duplicates.
    pub fn note(&mut self, duplicates: impl IntoIterator<Item = DuplicateNumber>) {
        for duplicate in duplicates {
            self.duplicated += 1;
            if self.duplicates.len() < MAX_LISTED {
                self.duplicates.push(duplicate);
            }
        }
    }
}

impl Store {
    /// Enters the rows that a tenant's hot documents lack.
    ///
    /// # Errors
    /// When the database fails. What was entered stays.
    pub async fn enter_numbers(&self, tenant: TenantId) -> Result<EnteredNumbers, StoreError> {
        let mut all = EnteredNumbers::default();
        let mut after = Uuid::nil();
        loop {
            let page = {
                let conn = self.inner.cluster.owner(tenant).get().await?;
                let statement = conn.prepare_cached(sql::INVOICE_NUMBERED).await?;
                conn.query(&statement, &[&tenant.0, &after, &PAGE]).await?
            };
            let document = |row: &tokio_postgres::Row| NumberedDocument {
                id: row.get(0),
                number: row.get(1),
                issue_date: row.get(2),
            };
            let documents: Vec<_> = page.iter().map(document).collect();
            let Some(last) = documents.last() else {
                return Ok(all);
            };
            after = last.id;
            all.documents += documents.len() as u64;
            self.enter(tenant, &documents, true, &mut all).await?;
        }
    }

    /// Enters the rows that archived documents lack.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enter_archived_numbers(
        &self,
        tenant: TenantId,
        documents: &[NumberedDocument],
    ) -> Result<EnteredNumbers, StoreError> {
        let mut all = EnteredNumbers {
            documents: documents.len() as u64,
            ..EnteredNumbers::default()
        };
        self.enter(tenant, documents, false, &mut all).await?;
        Ok(all)
    }

    async fn enter(
        &self,
        tenant: TenantId,
        documents: &[NumberedDocument],
        is_hot: bool,
        all: &mut EnteredNumbers,
    ) -> Result<(), StoreError> {
        let documents: Vec<_> = documents.iter().filter(|d| d.is_of_two_years()).collect();
        if documents.is_empty() {
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.try_enter(tenant, &documents, is_hot).await {
                Ok((entered, duplicates)) => {
                    all.entered += entered;
                    all.note(duplicates);
                    return Ok(());
                }
                Err(Abort::Db(error)) => error,
                Err(Abort::Failed(error)) => return Err(error),
                Err(Abort::Bug(text)) => return Err(Error::Bug(text).into()),
                Err(Abort::Stale(_) | Abort::Needs(_) | Abort::Apart(_)) => {
                    return Err(Error::Corrupt("numbers need no archive".into()).into());
                }
            };
            let kind = classify(&error);
            if attempt >= ATTEMPTS || matches!(kind, Failure::Fatal | Failure::Timeout) {
                return Err(error.into());
            }
            // Entering what is there already does nothing.
            after_failure(self, "numbers", kind, attempt, &error.into()).await;
        }
    }

    async fn try_enter(
        &self,
        tenant: TenantId,
        documents: &[&NumberedDocument],
        is_hot: bool,
    ) -> Result<(u64, Vec<DuplicateNumber>), Abort> {
        let cluster = &self.inner.cluster;
        let shards = [cluster.shard_of(tenant)];
        let session = Session::open(&cluster.node(&shards[0].node)).await?;
        let place = Place {
            conn: session.conn()?,
            frame: Frame::Own,
            shards: &shards,
            direct: cluster.is_direct(),
            committing: &AtomicBool::new(false),
            shard_locked: &AtomicBool::new(false),
            in_company: false,
        };
        let mut locks = Locks::default();
        locks.add(lock_of(cluster, tenant), true);
        let citus = self.is_citus();
        match enter_in(&place, citus, &locks, (tenant, documents, is_hot)).await {
            Ok(entered) => {
                session.release();
                Ok(entered)
            }
            Err(abort) => {
                session.rollback().await;
                Err(abort)
            }
        }
    }

    /// Numbers that two hot documents of a tenant have in one year; and those that a series which
    /// runs through the years has given twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn duplicate_numbers(
        &self,
        tenant_id: TenantId,
    ) -> Result<Vec<DuplicateNumber>, StoreError> {
        let series = self.number_series(tenant_id).await?;
        let conn = self.inner.cluster.owner(tenant_id).get().await?;
        let found = collisions(&conn, sql::NUMBER_CLAIM_COLLISIONS, tenant_id).await?;
        let mut duplicates: Vec<DuplicateNumber> = found
            .into_iter()
            .map(|found| DuplicateNumber {
                tenant_id,
                number: found.number,
                year: Some(found.year),
                invoice_ids: vec![found.claimed_by, found.other],
            })
            .collect();
        let prefixes: BTreeSet<&str> = series
            .iter()
            .filter(|row| row.year == 0 && !row.prefix.contains(SERIES_YEAR))
            .map(|row| row.prefix.as_str())
            .collect();
        let twice = conn.prepare_cached(sql::INVOICE_NUMBERS_TWICE).await?;
        for prefix in prefixes {
            let rows = conn
                .query(&twice, &[&tenant_id.0, &prefix, &LISTED])
                .await?;
            duplicates.extend(rows.iter().map(|row| DuplicateNumber {
                tenant_id,
                number: row.get(0),
                year: None,
                invoice_ids: row.get(1),
            }));
        }
        Ok(duplicates)
    }

    /// Numbers that documents have in a year of issue which is not their id's, by number and year,
    /// after a cursor of both.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claimed_numbers(
        &self,
        tenant: TenantId,
        after: (&str, i16),
        limit: i64,
    ) -> Result<Vec<(String, i16, Uuid)>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let page = conn.prepare_cached(sql::NUMBER_CLAIM_PAGE).await?;
        let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &after.0, &after.1, &limit];
        let rows = conn.query(&page, &params).await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect())
    }
}

async fn enter_in(
    place: &Place<'_>,
    citus: bool,
    locks: &Locks,
    (tenant_id, documents, is_hot): (TenantId, &[&NumberedDocument], bool),
) -> Result<(u64, Vec<DuplicateNumber>), Abort> {
    let (conn, shard) = (place.conn, &place.shards[0]);
    let opening = Opening::prepare(place, citus, &Locks::default()).await?;
    opening.send(place).await?;
    // Rows first, as changes do: a draft may have another number, or another day, by now.
    let documents = if is_hot {
        lock_documents(conn, shard, tenant_id, documents).await?
    } else {
        documents
            .iter()
            .map(|document| (*document).clone())
            .collect()
    };
    locks.take(conn).await?;
    let mut taken = claims(conn, shard, tenant_id, &documents).await?;
    let (mut batch, mut duplicates) = (Batch::new(0), Vec::new());
    for document in documents.iter().filter(|d| d.is_of_two_years()) {
        let year = year_of(document.issue_date);
        match taken.get(&(document.number.clone(), year)) {
            Some(by) if *by == document.id => {}
            Some(by) => duplicates.push(DuplicateNumber {
                tenant_id,
                number: document.number.clone(),
                year: Some(year),
                invoice_ids: vec![*by, document.id],
            }),
            None => {
                batch.push_claimed(tenant_id, &document.number, year, document.id);
                taken.insert((document.number.clone(), year), document.id);
            }
        }
    }
    let entered = batch.claimed();
    let batches = [(Arc::clone(shard), batch)];
    let (open, end) = (async { Ok(()) }, place.frame.run(conn, "commit"));
    write(place, &batches, &BTreeMap::new(), open, end).await?;
    Ok((entered, duplicates))
}

/// Locks the documents, and reads what they have now.
async fn lock_documents(
    conn: &Object,
    shard: &Shard,
    tenant: TenantId,
    documents: &[&NumberedDocument],
) -> Result<Vec<NumberedDocument>, Abort> {
    let mut by_year: BTreeMap<i16, BTreeSet<Uuid>> = BTreeMap::new();
    for document in documents {
        let of_year = by_year.entry(id::year_of(document.id)).or_default();
        of_year.insert(document.id);
    }
    let lock = conn
        .prepare_cached(shard.statement(Statement::LockInvoices))
        .await?;
    let mut now = Vec::with_capacity(documents.len());
    for (year, ids) in by_year {
        let wanted = Wanted::new(tenant.0, year, ids.into_iter().collect());
        for row in conn.query(&lock, &wanted.params()).await? {
            let number: Option<String> = row.get("number");
            let issue_date: Option<NaiveDate> = row.get("issue_date");
            if let (Some(number), Some(issue_date)) = (number, issue_date) {
                now.push(NumberedDocument {
                    id: row.get("id"),
                    number,
                    issue_date,
                });
            }
        }
    }
    Ok(now)
}

/// Who has these numbers in these years of issue.
async fn claims(
    conn: &Object,
    shard: &Shard,
    tenant: TenantId,
    documents: &[NumberedDocument],
) -> Result<HashMap<(String, i16), Uuid>, Abort> {
    let mut by_year: BTreeMap<i16, Vec<&str>> = BTreeMap::new();
    for document in documents {
        let of_year = by_year.entry(year_of(document.issue_date)).or_default();
        of_year.push(&document.number);
    }
    let find = conn
        .prepare_cached(Find::NumberClaims.on(Some(shard)))
        .await?;
    let mut found = HashMap::new();
    for (year, numbers) in by_year {
        let rows = conn.query(&find, &[&tenant.0, &year, &numbers]).await?;
        found.extend(
            rows.iter()
                .map(|row| ((row.get(3), row.get(2)), row.get(1))),
        );
    }
    Ok(found)
}
