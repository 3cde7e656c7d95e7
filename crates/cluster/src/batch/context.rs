//! What a batch runs on.

use std::future::Future;

use sheaf_model::TenantId;

use crate::error::OfCluster;
use crate::routing::Cluster;

/// What batches run on: whoever knows what their work is about. A handle that is cheap to clone.
pub trait Context: Clone + Send + Sync + 'static {
    /// A handle that does not keep it open.
    type Weak: Clone + Send + Sync + 'static;
    /// Why work was not done.
    type Error: OfCluster;
    /// What a member has to have loaded before it can be done.
    type Needs: Send + Sync + 'static;
    /// What a transaction found changed against which its batch was checked.
    type Stale: Send + 'static;
    /// What a member brings along, beside what this crate knows of it.
    type Carried: Default + Send + Sync + 'static;

    /// What others kept changing where a member's facts were out of date again and again.
    const STALE: &'static str;

    /// The cluster that it works on.
    fn cluster(&self) -> &Cluster;

    /// A handle that does not keep it open.
    fn downgrade(&self) -> Self::Weak;

    /// The handle, while somebody else holds it.
    fn upgrade(weak: &Self::Weak) -> Option<Self>;

    /// Takes note of what a transaction found changed.
    fn remember(&self, stale: Self::Stale);

    /// Forgets which partitions exist: one that was believed to be there is gone.
    fn forget_partitions(&self);

    /// Loads what a member needs, in bounded time, in the task of whoever waits for its answer.
    fn load(
        &self,
        tenant: TenantId,
        needs: Self::Needs,
        carried: &mut Self::Carried,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
