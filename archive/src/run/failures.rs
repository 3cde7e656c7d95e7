//! The failures of a run over many tenants. It goes on with the others: one that is broken must not
//! keep all of them waiting.

use std::fmt::Display;

use serde::Serialize;
use sheaf_model::TenantId;

use crate::ArchiveError;

/// Failures that a summary lists; further ones are counted.
const MAX_LISTED: usize = 100;

/// One piece of work that failed. What was done before stays done, and the next run tries again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The tenant; none where it is all tenants'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// A month, an object, a customer; none where the tenant as a whole failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Why, in one sentence.
    pub detail: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(tenant) = self.tenant_id {
            write!(f, "tenant {tenant}: ")?;
        }
        if let Some(what) = &self.what {
            write!(f, "{what}: ")?;
        }
        f.write_str(&self.detail)
    }
}

/// What failed in a run; part of its summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// How many pieces of work.
    pub failed: u64,
    /// The first hundred of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl Failures {
    /// Whether everything was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failed == 0
    }

    /// Notes what failed, unless it ends the run: without the lock nothing may go on.
    pub(crate) fn note(
        &mut self,
        tenant_id: impl Into<Option<TenantId>>,
        what: Option<String>,
        error: ArchiveError,
    ) -> Result<(), ArchiveError> {
        let tenant_id = tenant_id.into();
        if matches!(error, ArchiveError::LockLost) {
            return Err(error);
        }
        let detail = error.to_string();
        let tenant = tenant_id.map(tracing::field::display);
        tracing::warn!(tenant, what, detail, "a run goes on without this");
        self.add(Failure {
            tenant_id,
            what,
            detail,
        });
        Ok(())
    }

    fn add(&mut self, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < MAX_LISTED {
            self.failures.push(failure);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.failed += other.failed;
        let room = MAX_LISTED.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_the_first_are_listed() {
        let tenant = TenantId(uuid::Uuid::nil());
        let (mut one, mut all) = (Failures::default(), Failures::default());
        for n in 0..70 {
            let error = ArchiveError::InvalidRun(format!("no {n}"));
            one.note(tenant, Some("2024-03".into()), error).unwrap();
        }
        all.merge(one.clone());
        all.merge(one);
        assert_eq!((all.failed, all.failures.len()), (140, MAX_LISTED));
        let text = all.failures[0].to_string();
        assert!(text.ends_with(": 2024-03: no 0"), "{text}");
        assert!(matches!(
            all.note(tenant, None, ArchiveError::LockLost),
            Err(ArchiveError::LockLost)
        ));
    }
}
