//! Look-ups of keys by many at a time. However many suspect keys come, they cost the database so
//! many statements a second and no more, and a right key among them waits for moments only.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sheaf_store::{ApiKey, ClusterError, Full, StoreError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// From one look-up to the next.
const EVERY: Duration = Duration::from_millis(20);
/// Keys of one look-up: 25,600 a second, more than come through the front door.
const AT_ONCE: usize = 512;
/// Keys that wait: for two thirds of a second at most.
const WAITING: usize = 16 << 10;

type Hash = [u8; 32];
type Found = Result<Option<ApiKey>, StoreError>;
/// A key that is looked for, and who asks.
type Asked = (Hash, oneshot::Sender<Found>);

/// Keys that wait for the next look-up. Whoever's turn it is makes it for all.
#[derive(Default)]
pub(super) struct Batches {
    waiting: Mutex<VecDeque<Asked>>,
    /// When the last one began.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

impl Batches {
    /// The key with this hash, if `look_up` finds it in its batch.
    pub(super) async fn find<F>(&self, hash: Hash, look_up: impl Fn(Vec<Hash>) -> F) -> Found
    where
        F: Future<Output = Result<HashMap<Hash, ApiKey>, StoreError>> + Send + 'static,
    {
        let mut answer = self.ask(hash)?;
        loop {
            tokio::select! {
                biased;
                found = &mut answer => match found {
                    Ok(found) => return found,
                    // The look-up died with its batch.
                    Err(_) => answer = self.ask(hash)?,
                },
                mut last = self.turn.lock() => {
                    if let Some(last) = *last {
                        tokio::time::sleep_until(last + EVERY).await;
                    }
                    *last = Some(Instant::now());
                    let batch = self.take();
                    let found = look_up(batch.iter().map(|(hash, _)| *hash).collect());
                    // In a task: whoever asked may go, the others want their answers.
                    let _died = tokio::spawn(answer_all(batch, found)).await;
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, hash: Hash) -> Result<oneshot::Receiver<Found>, StoreError> {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING {
            waiting.retain(|(_, asks)| !asks.is_closed());
        }
        if waiting.len() >= WAITING {
            return Err(StoreError::Cluster(ClusterError::Busy(Full::All)));
        }
        let (asks, answer) = oneshot::channel();
        waiting.push_back((hash, asks));
        Ok(answer)
    }

    fn take(&self) -> Vec<Asked> {
        let mut waiting = self.waiting();
        let mut batch = Vec::new();
        while batch.len() < AT_ONCE
            && let Some(next) = waiting.pop_front()
        {
            if !next.1.is_closed() {
                batch.push(next);
            }
        }
        batch
    }
}

async fn answer_all(
    batch: Vec<Asked>,
    found: impl Future<Output = Result<HashMap<Hash, ApiKey>, StoreError>>,
) {
    let found = found.await;
    for (hash, asks) in batch {
        let one = found.as_ref().map(|found| found.get(&hash).cloned());
        // Whoever has gone meanwhile needs none.
        let _gone = asks.send(one.map_err(Clone::clone));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::DateTime;
    use futures_util::future::{FutureExt as _, join_all};
    use sheaf_model::TenantId;
    use sheaf_store::Role;
    use uuid::Uuid;

    use super::*;

    const RIGHT: Hash = [1; 32];

    fn key() -> ApiKey {
        ApiKey {
            id: Uuid::nil(),
            tenant_id: TenantId(Uuid::nil()),
            name: "n".into(),
            role: Role::Viewer,
            prefix: "p".into(),
            created_at: DateTime::UNIX_EPOCH,
            revoked_at: None,
            expires_at: None,
            rotated_from: None,
        }
    }

    fn wrong(n: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        hash
    }

    #[tokio::test]
    async fn many_cost_few_look_ups_and_the_right_one_is_found_among_them() {
        let (batches, asked) = (Batches::default(), Arc::new(AtomicUsize::new(0)));
        let look_up = |hashes: Vec<Hash>| {
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(hashes.len() <= AT_ONCE);
            let found = hashes.into_iter().filter(|hash| *hash == RIGHT);
            let found = found.map(|hash| (hash, key())).collect();
            async move { Ok(found) }
        };
        let many = (0..2_000).map(|n| batches.find(wrong(n), look_up));
        let (many, right) = tokio::join!(join_all(many), batches.find(RIGHT, look_up));
        assert!(many.into_iter().all(|found| found.unwrap().is_none()));
        assert!(right.unwrap().is_some());
        let asked = asked.load(Ordering::Relaxed);
        assert!((4..10).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn a_look_up_goes_on_without_whoever_made_it_and_a_failed_one_is_told_to_all() {
        let batches = Batches::default();
        let stands = Arc::new(tokio::sync::Semaphore::new(0));
        let look_up = |hashes: Vec<Hash>| {
            let stands = Arc::clone(&stands);
            async move {
                let _goes = stands.acquire().await;
                match hashes.contains(&RIGHT) {
                    true => Ok(HashMap::from([(RIGHT, key())])),
                    false => Err(StoreError::Cluster(ClusterError::Timeout)),
                }
            }
        };
        let mut other = Box::pin(batches.find(RIGHT, look_up));
        let mut first = Box::pin(batches.find(wrong(1), look_up));
        // Both wait for the same look-up, which the first to be asked makes.
        assert!((&mut other).now_or_never().is_none());
        assert!((&mut first).now_or_never().is_none());
        drop(other);
        stands.add_permits(10);
        assert!(matches!(
            first.await,
            Err(StoreError::Cluster(ClusterError::Timeout))
        ));
        let (one, two) = tokio::join!(
            batches.find(wrong(2), look_up),
            batches.find(wrong(3), look_up)
        );
        assert!(matches!(
            (one, two),
            (
                Err(StoreError::Cluster(ClusterError::Timeout)),
                Err(StoreError::Cluster(ClusterError::Timeout))
            )
        ));
    }

    #[tokio::test]
    async fn those_that_wait_are_bounded_and_who_went_leaves_its_place() {
        let batches = Batches::default();
        let never = |_: Vec<Hash>| std::future::pending();
        let mut asked: Vec<_> = (0..WAITING)
            .map(|n| batches.ask(wrong(n)).unwrap())
            .collect();
        let full = batches.find(RIGHT, never).await;
        assert!(matches!(
            full,
            Err(StoreError::Cluster(ClusterError::Busy(Full::All)))
        ));
        asked.pop();
        assert!(batches.ask(RIGHT).is_ok());
    }
}
