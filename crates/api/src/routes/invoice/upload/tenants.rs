//! Whose invoice a line is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sheaf_model::invoice::input::TenantRef;
use sheaf_model::{Code, TenantId};
use sheaf_store::{Store, StoreError};
use uuid::Uuid;

use super::options::{Create, Owner};

/// Tenants remembered during one upload; beyond, they are looked up again.
const MAX_KNOWN: usize = 100_000;
/// Tenants made by one call of the store.
const CREATE_AT_ONCE: usize = 1_000;

/// A tenant that has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unresolved {
    Id(TenantId),
    ExternalId(String),
}

/// What is known of a line's tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    Tenant(TenantId),
    Rejected(Code, &'static str),
    Unknown(Unresolved),
}

/// The tenants seen so far, as blocking threads read them.
#[derive(Clone, Debug)]
pub(super) struct Known {
    owner: Owner,
    ids: HashMap<TenantId, bool>,
    externals: HashMap<String, Option<TenantId>>,
}

impl Known {
    /// The tenant that a line names.
    pub(super) fn resolve(&self, named: Option<TenantRef<'_>>) -> Resolved {
        const MISMATCH: Resolved = Resolved::Rejected(
            Code::TenantMismatch,
            "names another tenant than the credential's",
        );
        const NO_TENANT: Resolved =
            Resolved::Rejected(Code::UnknownTenant, "there is no such tenant");
        match (self.owner, named) {
            (Owner::Tenant(tenant), None) => Resolved::Tenant(tenant),
            (Owner::Tenant(tenant), Some(TenantRef::Id(named))) if named == tenant => {
                Resolved::Tenant(tenant)
            }
            (Owner::Tenant(_), Some(_)) => MISMATCH,
            (Owner::Platform, None) => Resolved::Rejected(
                Code::MissingTenant,
                "must name tenant_id or tenant_external_id",
            ),
            (Owner::Platform, Some(TenantRef::Id(id))) => match self.ids.get(&id) {
                Some(true) => Resolved::Tenant(id),
                Some(false) => NO_TENANT,
                None => Resolved::Unknown(Unresolved::Id(id)),
            },
            (Owner::Platform, Some(TenantRef::ExternalId(external))) => {
                match self.externals.get(external) {
                    Some(Some(id)) => Resolved::Tenant(*id),
                    Some(None) => NO_TENANT,
                    None => Resolved::Unknown(Unresolved::ExternalId(external.to_owned())),
                }
            }
        }
    }
}

/// Looks tenants up, and makes them where the upload asks for it.
pub(super) struct Tenants {
    store: Store,
    create: Create,
    known: Arc<Known>,
    /// External ids of the tenants to be made at the end.
    new: BTreeSet<String>,
    max_new: usize,
}

impl Tenants {
    pub(super) fn new(store: Store, owner: Owner, create: Create, max_new: usize) -> Self {
        let known = Known {
            owner,
            ids: HashMap::new(),
            externals: HashMap::new(),
        };
        Self {
            store,
            create,
            known: Arc::new(known),
            new: BTreeSet::new(),
            max_new,
        }
    }

    /// What is known now.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }

    /// Looks up what a batch could not resolve; afterwards [`Known::resolve`] answers each of
    /// `wanted`.
    pub(super) async fn load(
        &mut self,
        wanted: impl Iterator<Item = Unresolved>,
    ) -> Result<(), StoreError> {
        let (mut ids, mut externals) = (BTreeSet::new(), BTreeSet::new());
        for tenant in wanted {
            match tenant {
                Unresolved::Id(id) => drop(ids.insert(id)),
                Unresolved::ExternalId(external) => drop(externals.insert(external)),
            }
        }
        let known = Arc::make_mut(&mut self.known);
        if known.ids.len() + known.externals.len() > MAX_KNOWN {
            known.ids.clear();
            known.externals.clear();
        }
        for id in ids {
            let exists = self.store.get_tenant(id).await?.is_some();
            known.ids.insert(id, exists);
        }
        if externals.is_empty() {
            return Ok(());
        }
        let externals: Vec<String> = externals.into_iter().collect();
        let found = self
            .store
            .tenants_by_external_id(&externals, self.create == Create::AsTheyCome)
            .await?;
        for external in externals {
            let mut tenant = found.get(&external).copied();
            let room = self.new.len() < self.max_new || self.new.contains(&external);
            let may_be_made = self.create == Create::AtTheEnd && room;
            if tenant.is_none() && may_be_made {
                // Validation needs some tenant; nothing is written under this one.
                tenant = Some(TenantId(Uuid::nil()));
                self.new.insert(external.clone());
            }
            known.externals.insert(external, tenant);
        }
        Ok(())
    }

    /// Makes the tenants that were left for the end. From here on unknown ones are none.
    pub(super) async fn create_left(&mut self) -> Result<(), StoreError> {
        let new: Vec<String> = std::mem::take(&mut self.new).into_iter().collect();
        for some in new.chunks(CREATE_AT_ONCE) {
            let made = self.store.tenants_by_external_id(some, true).await?;
            let known = Arc::make_mut(&mut self.known);
            known
                .externals
                .extend(made.into_iter().map(|(external, id)| (external, Some(id))));
        }
        self.create = Create::Never;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_upload_holds_its_own_lines_only() {
        let tenant = TenantId(Uuid::from_u128(1));
        let known = Known {
            owner: Owner::Tenant(tenant),
            ids: HashMap::new(),
            externals: HashMap::new(),
        };
        assert_eq!(known.resolve(None), Resolved::Tenant(tenant));
        assert_eq!(
            known.resolve(Some(TenantRef::Id(tenant))),
            Resolved::Tenant(tenant)
        );
        for other in [
            TenantRef::Id(TenantId(Uuid::from_u128(2))),
            TenantRef::ExternalId("x"),
        ] {
            assert!(matches!(
                known.resolve(Some(other)),
                Resolved::Rejected(Code::TenantMismatch, _)
            ));
        }
    }
}
