//! Where documents are made: off the runtime's threads, a few at a time, with bounded places before
//! them. Tenants take turns.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use sheaf_model::TenantId;
use sheaf_store::Shares;

use crate::error::{ApiError, Crowded};

/// Longer than any request may take: places bound those who wait.
const PATIENCE: Duration = Duration::from_mins(10);

/// The bounds of making documents.
pub(crate) struct Desk {
    places: Arc<Shares>,
    /// One document a core, and one more: others would only take memory.
    hands: Arc<Shares>,
}

impl Desk {
    pub(crate) fn new(per_tenant: usize, places: usize) -> Self {
        let cores = available_parallelism().map_or(2, usize::from);
        // One more than there are cores: a tenant may have all of these, and one is left for
        // others.
        Self::with_hands(per_tenant, places, cores + 1)
    }

    fn with_hands(per_tenant: usize, places: usize, hands: usize) -> Self {
        let amount = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            places: Shares::new("documents", amount(per_tenant), amount(places)),
            hands: Shares::new("document_threads", amount(hands), amount(hands)),
        }
    }

    /// Runs `make` when the tenant's turn comes.
    ///
    /// # Errors
    /// [`ApiError::Crowded`] where all places, or the tenant's, are taken; `make`'s own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        tenant: TenantId,
        make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let crowded = |full| ApiError::Crowded(Crowded::Documents, full);
        let place = self.places.take(tenant).map_err(crowded)?;
        let hand = self.hands.wait(tenant, PATIENCE).await.map_err(crowded)?;
        let made = tokio::task::spawn_blocking(move || {
            let made = make();
            // Held here: a client that goes away does not stop the work, and must not free its
            // place.
            drop((place, hand));
            made
        });
        made.await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sheaf_store::Full;
    use uuid::Uuid;

    use super::*;

    const HANDS: usize = 3;
    const PER_TENANT: usize = 16;
    const PLACES: usize = 24;

    #[tokio::test]
    async fn some_work_some_wait_and_the_rest_is_refused() {
        let desk = Arc::new(Desk::with_hands(PER_TENANT, PLACES, HANDS));
        let [one, two] = [1, 2].map(|n| TenantId(Uuid::from_u128(n)));
        let working = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let (working, most) = (Arc::new(working), Arc::new(AtomicUsize::new(0)));
        let run = |tenant, count: usize| -> Vec<_> {
            let one = || {
                let (desk, working, most) = (desk.clone(), working.clone(), most.clone());
                let which = usize::from(tenant == two);
                tokio::spawn(async move {
                    let make = move || {
                        let mine = working[which].fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(mine < HANDS, "one hand is another tenant's");
                        let all = working.iter().map(|w| w.load(Ordering::SeqCst)).sum();
                        most.fetch_max(all, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        working[which].fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    desk.run(tenant, make).await
                })
            };
            (0..count).map(|_| one()).collect()
        };
        // In the order of their start, since there is one thread: the first tenant's, then the
        // second's.
        let (first, second) = (run(one, PER_TENANT + 3), run(two, PLACES - PER_TENANT + 2));
        let mut refused = Vec::new();
        for task in first.into_iter().chain(second) {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(ApiError::Crowded(Crowded::Documents, full)) => refused.push(full),
                Err(other) => unreachable!("{other:?}"),
            }
        }
        let expected = [
            Full::Tenant,
            Full::Tenant,
            Full::Tenant,
            Full::All,
            Full::All,
        ];
        assert_eq!(refused, expected);
        assert_eq!(most.load(Ordering::SeqCst), HANDS);
        // All places are free again.
        for task in run(one, PER_TENANT) {
            task.await.unwrap().unwrap();
        }
    }
}
