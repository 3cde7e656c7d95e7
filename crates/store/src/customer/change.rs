//! Events of customers: what was and what is, of the fields that changed.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sheaf_model::customer::CustomerFields;
use sheaf_model::invoice::lifecycle::told_metadata;
use sheaf_model::{Metadata, TenantId};
use tokio_postgres::types::Json;
use uuid::Uuid;

use sheaf_cluster::Error;

use super::{Cause, Failed};
use crate::{NewEvent, StoreError};

/// Values by field. Raw, so that no number of the metadata is read and rounded.
type Values = BTreeMap<&'static str, Box<RawValue>>;

/// The `data` of an event.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    old: Values,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    new: Values,
    version: i64,
}

/// Metadata as a parameter.
pub(super) fn raw(metadata: &Metadata) -> Result<Json<Box<RawValue>>, StoreError> {
    let raw = RawValue::from_string(metadata.as_str().to_owned());
    raw.map(Json).map_err(|e| corrupt(&e))
}

/// Metadata in an event.
fn told(metadata: &Metadata) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(told_metadata(metadata).into_owned()).map_err(|e| corrupt(&e))
}

pub(super) fn value(value: &impl Serialize) -> Result<Box<RawValue>, StoreError> {
    to_raw_value(value).map_err(|e| corrupt(&e))
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    Error::Corrupt(format!("customer: {error}")).into()
}

fn values(fields: &CustomerFields) -> Result<Values, StoreError> {
    let c = &fields.customer;
    Ok(BTreeMap::from([
        ("external_id", value(&c.external_id)?),
        ("name", value(&c.name)?),
        ("email", value(&c.email)?),
        ("tax_id", value(&c.tax_id)?),
        ("address", value(&c.address)?),
        ("country", value(&c.country)?),
        ("metadata", told(&fields.metadata)?),
        ("active", value(&fields.active)?),
    ]))
}

pub(super) fn created(fields: &CustomerFields) -> Result<Change, StoreError> {
    Ok(Change {
        old: Values::new(),
        new: values(fields)?,
        version: 1,
    })
}

pub(super) fn changed(
    old: &CustomerFields,
    new: &CustomerFields,
    version: i64,
) -> Result<Change, StoreError> {
    let (mut old, mut new) = (values(old)?, values(new)?);
    let same: Vec<&str> = old
        .iter()
        .filter(|(field, was)| new.get(*field).is_some_and(|is| is.get() == was.get()))
        .map(|(field, _)| *field)
        .collect();
    for field in same {
        old.remove(field);
        new.remove(field);
    }
    Ok(Change { old, new, version })
}

pub(super) fn deleted(old: &CustomerFields, version: i64) -> Result<Change, StoreError> {
    Ok(Change {
        old: values(old)?,
        new: Values::new(),
        version,
    })
}

/// Of a single field.
pub(super) fn replaced(
    field: &'static str,
    old: &impl Serialize,
    new: &impl Serialize,
    version: i64,
) -> Result<Change, StoreError> {
    Ok(Change {
        old: BTreeMap::from([(field, value(old)?)]),
        new: BTreeMap::from([(field, value(new)?)]),
        version,
    })
}

impl Change {
    /// The same with one more field.
    pub(super) fn and(
        mut self,
        field: &'static str,
        old: &impl Serialize,
        new: &impl Serialize,
    ) -> Result<Self, StoreError> {
        self.old.insert(field, value(old)?);
        self.new.insert(field, value(new)?);
        Ok(self)
    }
}

impl Cause {
    /// Adds the event of a change to its transaction.
    pub(super) async fn tell(
        &self,
        tx: &Transaction<'_>,
        tenant: TenantId,
        subject: Uuid,
        event_type: &'static str,
        data: &(impl Serialize + Sync),
    ) -> Result<(), Failed> {
        let data = value(data)?.get().to_owned();
        let event = NewEvent::of(subject, event_type, &self.origin, data, self.at);
        Ok(event.write_in(tx, tenant).await?)
    }
}
