//! Places of what takes long: so many for each tenant, and so many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sheaf_model::TenantId;

/// The places of one kind of work.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Mutex<HashMap<TenantId, usize>>,
    per_tenant: usize,
    total: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The tenant has as many as it may.
    Tenant,
    /// All tenants together have.
    All,
}

impl Places {
    pub(crate) fn new(per_tenant: usize, total: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            per_tenant,
            total,
        })
    }

    /// Takes a place of the tenant's.
    pub(crate) fn take(self: &Arc<Self>, tenant: TenantId) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&tenant).is_some_and(|n| *n >= self.per_tenant) {
            return Err(Full::Tenant);
        }
        if taken.values().sum::<usize>() >= self.total {
            return Err(Full::All);
        }
        *taken.entry(tenant).or_default() += 1;
        Ok(Place {
            places: Arc::clone(self),
            tenant,
        })
    }
}

/// Given back when it is dropped: when the work has really ended.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_tenant_and_in_all_and_come_back() {
        let [one, two, three] = [1, 2, 3].map(|n| TenantId(uuid::Uuid::from_u128(n)));
        let places = Places::new(2, 3);
        let held = (places.take(one).unwrap(), places.take(one).unwrap());
        assert_eq!(places.take(one).unwrap_err(), Full::Tenant);
        let other = places.take(two).unwrap();
        assert_eq!(places.take(three).unwrap_err(), Full::All);
        drop(held.0);
        assert!(places.take(three).is_ok());
        assert!(places.take(one).is_ok());
        drop((held.1, other));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
