//! Events that are not a document's: of customers, API keys and settings, and of what was refused.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use sheaf_model::{TenantId, id};
use uuid::Uuid;

use crate::event::origin::Origin;
use crate::{Store, StoreError, sql};
use sheaf_cluster::error::{Failure, classify};

/// Attempts to write where partitions come and go.
const ATTEMPTS: u32 = 3;

/// An event to be written by itself. Writing it twice writes it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    subject: Uuid,
    id: Uuid,
    year: i16,
    event_type: &'static str,
    origin: Origin,
    /// A JSON document.
    pub data: String,
    at: DateTime<Utc>,
}

impl NewEvent {
    /// What happened to the tenant itself. A tenant lives on and on, so the year is the event's
    /// own.
    #[must_use]
    pub fn of_tenant(
        tenant: TenantId,
        event_type: &'static str,
        origin: Origin,
        data: String,
        at: DateTime<Utc>,
    ) -> Self {
        let id = id::precise_id(at);
        Self {
            subject: tenant.0,
            id,
            year: id::year_of(id),
            event_type,
            origin,
            data,
            at,
        }
    }

    /// Whose partition it goes to.
    pub(crate) fn year(&self) -> i16 {
        self.year
    }

    /// What happened to something with an id of its own; the year is the subject's.
    pub(crate) fn of(
        subject: Uuid,
        event_type: &'static str,
        origin: &Origin,
        data: String,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            subject,
            id: id::precise_id(at),
            year: id::year_of(subject),
            event_type,
            origin: origin.clone(),
            data,
            at,
        }
    }

    /// Writes it with the change that it tells of.
    pub(crate) async fn write_in(
        &self,
        tx: &Transaction<'_>,
        tenant: TenantId,
    ) -> Result<(), tokio_postgres::Error> {
        let record = tx.prepare_cached(sql::EVENT_RECORD).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
            &tenant.0,
            &self.subject,
            &self.id,
            &self.year,
            &self.event_type,
            &&*self.origin.actor,
            &&*self.origin.request_id,
            &self.data,
            &self.at,
            &self.origin.trace.correlation_id.as_deref(),
            &self.origin.trace.causation_id.as_deref(),
        ];
        tx.execute(&record, &params).await.map(|_| ())
    }
}

impl Store {
    /// Writes events that no other change causes, all or none, on the tenant's node.
    ///
    /// # Errors
    /// When the database fails; the same events can be written again.
    pub async fn write_events(
        &self,
        tenant: TenantId,
        events: &[NewEvent],
    ) -> Result<(), StoreError> {
        for attempt in 1.. {
            self.ensure_years(&events.iter().map(|e| e.year).collect())
                .await?;
            match self.try_events(tenant, events).await {
                Err(EventError::Db(e))
                    if attempt < ATTEMPTS
                        && matches!(
                            classify(&e),
                            Failure::MissingPartition | Failure::Retry | Failure::Locked
                        ) =>
                {
                    self.forget_years();
                }
                Err(EventError::Db(e)) => return Err(e.into()),
                Err(EventError::Store(e)) => return Err(e),
                Ok(()) => break,
            }
        }
        Ok(())
    }

    async fn try_events(&self, tenant: TenantId, events: &[NewEvent]) -> Result<(), EventError> {
        let node = self.inner.cluster.owner(tenant);
        let mut conn = node
            .get()
            .await
            .map_err(|error| EventError::Store(error.into()))?;
        let tx = conn.transaction().await.map_err(EventError::Db)?;
        for event in events {
            event.write_in(&tx, tenant).await.map_err(EventError::Db)?;
        }
        tx.commit().await.map_err(EventError::Db)
    }

    /// The partition that events about `subject` go into.
    pub(crate) async fn ensure_year_of(&self, subject: Uuid) -> Result<(), StoreError> {
        self.ensure_years(&BTreeSet::from([id::year_of(subject)]))
            .await
    }
}

enum EventError {
    Db(tokio_postgres::Error),
    Store(StoreError),
}
