//! What callers hand in and get back.

use chrono::{DateTime, SubsecRound, Utc};
use sheaf_model::customer::CustomerFields;
use sheaf_model::{Code, Invalid, TenantId};
use uuid::Uuid;

use crate::{Origin, StoreError};

/// A customer as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRecord {
    /// Owner.
    pub tenant_id: TenantId,
    /// UUIDv7.
    pub id: Uuid,
    /// What the tenant says of it.
    pub fields: CustomerFields,
    /// The survivor that it was merged into.
    pub merged_into: Option<Uuid>,
    /// Counts changes, from 1. The ETag.
    pub version: i64,
    /// Microseconds, UTC.
    pub created_at: DateTime<Utc>,
    /// Microseconds, UTC.
    pub modified_at: DateTime<Utc>,
}

/// What a list of customers is narrowed to. All conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerFilter {
    /// Exact.
    pub external_id: Option<String>,
    /// Exact.
    pub tax_id: Option<String>,
    /// Without regard to case.
    pub email: Option<String>,
    /// Only those that new invoices may name, or only the others.
    pub active: Option<bool>,
}

/// Who changes something, in which request, and when.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Who, and in which request.
    pub origin: Origin,
    /// Microseconds, as PostgreSQL keeps them.
    pub at: DateTime<Utc>,
}

impl Cause {
    /// At `now`, cut to microseconds.
    #[must_use]
    pub fn new(origin: Origin, now: DateTime<Utc>) -> Self {
        Self {
            origin,
            at: now.trunc_subsecs(6),
        }
    }
}

/// Why a customer was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum CustomerError {
    /// The tenant has no such customer.
    #[error("no such customer")]
    NotFound,
    /// The tenant has no customer with the id that `into` names.
    #[error("no such customer to merge into")]
    SurvivorNotFound,
    /// The customer has another version than the client expects.
    #[error("the customer has version {current}")]
    VersionMismatch {
        /// The version that it has.
        current: i64,
    },
    /// The change breaks a rule of the fields.
    #[error("{0}")]
    Invalid(Invalid),
    /// The request contradicts what is stored.
    #[error("{detail}")]
    Conflict {
        /// Stable code.
        code: Code,
        /// For the client.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CustomerError {
    pub(super) fn conflict(code: Code, detail: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            detail: detail.into(),
        }
    }
}
