//! Bringing an archived invoice back to hot, in the transaction that changes it; and which archived
//! copies are out of date because of that.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use sheaf_model::{TenantId, id};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::batch::{Abort, Needs};
use crate::cold::archive::ColdInvoice;
use crate::cold::file::ArchiveFile;
use crate::event::row::EventRow;
use crate::invoice::change::NewChange;
use crate::sql::statements::{OnShard, Statement};
use crate::{Store, StoreError, sql};
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::rows::CopyBuffer;

/// Recalls of one page.
const MASKED_PAGE: i64 = 10_000;

/// `jsonb` from its text.
#[derive(Debug)]
pub(crate) struct Jsonb<'a>(pub(crate) &'a str);

impl ToSql for Jsonb<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

/// Takes the invoice over from its file: from the commit on the file's copy is out of date. Its
/// history comes back with it; the caller inserts the document itself.
pub(crate) async fn restore(
    conn: &Object,
    shard: &Shard,
    cold: &ColdInvoice,
    by: &[NewChange],
) -> Result<(), Abort> {
    let (file, invoice) = (&cold.file, &cold.archived.invoice);
    let published = file.published_at.ok_or_else(|| {
        Abort::from(sheaf_cluster::Error::Corrupt(
            "a published file without a time".into(),
        ))
    })?;
    let now = by
        .iter()
        .map(|change| change.now)
        .max()
        .unwrap_or(published);
    let key = (invoice.tenant_id, invoice.id);
    let (month, year) = (file.period.to_string(), id::year_of(invoice.id));
    let hold = conn.prepare_cached(sql::ARCHIVE_FILE_HOLD).await?;
    let held = conn
        .query_opt(&hold, &[&key.0.0, &month, &file.part, &file.generation])
        .await?;
    let record = conn
        .prepare_cached(shard.statement(Statement::Recall))
        .await?;
    let recalled_at = now.max(published);
    let params: [&(dyn ToSql + Sync); 6] = [
        &key.0.0,
        &key.1,
        &year,
        &file.object_key,
        &recalled_at,
        &published,
    ];
    if held.is_none() || conn.execute(&record, &params).await? != 1 {
        // What was read is not the invoice any more.
        let invoices = [key.1].into();
        let needs = Needs {
            invoices,
            ..Needs::default()
        };
        return Err(Abort::Needs([(key.0, needs)].into()));
    }
    let events = event_rows(invoice.tenant_id, invoice.id, &cold.archived.events);
    if events.rows() > 0 {
        let statement = conn
            .prepare_cached(shard.statement(Statement::RestoreEvents))
            .await?;
        let columns = events.columns();
        let params: Vec<&(dyn ToSql + Sync)> =
            columns.iter().map(|c| c as &(dyn ToSql + Sync)).collect();
        conn.execute(&statement, &params).await?;
    }
    Ok(())
}

fn event_rows(tenant: TenantId, subject: Uuid, events: &[EventRow]) -> CopyBuffer {
    let mut rows = CopyBuffer::with_capacity(events.len() * 300);
    for event in events {
        rows.row(11)
            .uuid(tenant.0)
            .uuid(subject)
            .uuid(event.id)
            .i16(id::year_of(subject))
            .text(&event.event_type)
            .text(&event.actor)
            .opt_text(event.request_id.as_deref())
            .jsonb(&event.data)
            .timestamp(event.created_at)
            .opt_text(event.correlation_id.as_deref())
            .opt_text(event.causation_id.as_deref());
    }
    rows
}

/// [`Store::recalled_from`], in the caller's transaction. Page by page: the recalls of a month have
/// no bound of their own.
pub(crate) async fn masked(
    conn: &impl GenericClient,
    file: &ArchiveFile,
) -> Result<Vec<Uuid>, tokio_postgres::Error> {
    let mut masked: Vec<Uuid> = Vec::new();
    let Some(published) = file.published_at else {
        return Ok(masked);
    };
    let mut from = file.min_id;
    loop {
        let params: [&(dyn ToSql + Sync); 6] = [
            &file.tenant_id.0,
            &file.period.year,
            &from,
            &file.max_id,
            &published,
            &MASKED_PAGE,
        ];
        let rows = conn.query(sql::ARCHIVE_RECALL_OF_FILE, &params).await?;
        masked.extend(rows.iter().map(|row| row.get::<_, Uuid>(0)));
        let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MASKED_PAGE);
        match masked.last() {
            Some(last) if full => from = Uuid::from_u128(last.as_u128().saturating_add(1)),
            _ => return Ok(masked),
        }
    }
}

impl Store {
    /// When the invoice was recalled last: its copies in files that were published up to then are
    /// out of date.
    pub(crate) async fn recalled_at(
        &self,
        conn: &Object,
        tenant: TenantId,
        invoice: Uuid,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let statement = conn.prepare_cached(sql::ARCHIVE_RECALL_OF_ID).await?;
        let row = conn
            .query_opt(&statement, &[&tenant.0, &id::year_of(invoice), &invoice])
            .await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// The invoices whose copy in the file is out of date, in the order of their ids. Among them
    /// may be invoices of other files of the month, whose ids lie between this one's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recalled_from(&self, file: &ArchiveFile) -> Result<Vec<Uuid>, StoreError> {
        let conn = self.inner.cluster.owner(file.tenant_id).get().await?;
        Ok(masked(&**conn, file).await?)
    }
}
