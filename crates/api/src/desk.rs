//! Where documents are made: off the runtime's threads, a few at a time, with a bounded queue before them.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Documents that may wait or be made at any moment; a page takes some milliseconds.
const PLACES: usize = 64;

/// The bounds of making documents.
pub(crate) struct Desk {
    places: Arc<Semaphore>,
    /// One document a core: more would only take memory.
    hands: Arc<Semaphore>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let hands = available_parallelism().map_or(2, usize::from);
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            hands: Arc::new(Semaphore::new(hands)),
        }
    }

    /// Runs `make` when its turn comes.
    ///
    /// # Errors
    /// [`ApiError::DeskFull`] where all places are taken; `make`'s own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| ApiError::DeskFull)?;
        // Nobody closes it.
        let hand = Arc::clone(&self.hands)
            .acquire_owned()
            .await
            .map_err(|_| ApiError::DeskFull)?;
        let made = tokio::task::spawn_blocking(move || {
            let made = make();
            // Held here: a client that goes away does not stop the work, and must not free its place.
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

    use super::*;

    #[tokio::test]
    async fn some_work_some_wait_and_the_rest_is_refused() {
        let desk = Arc::new(Desk::new());
        let hands = desk.hands.available_permits();
        let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..PLACES + 3)
            .map(|_| {
                let (desk, working, most) = (desk.clone(), working.clone(), most.clone());
                tokio::spawn(async move {
                    let make = move || {
                        most.fetch_max(
                            working.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        working.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    desk.run(make).await
                })
            })
            .collect();
        let mut refused = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(ApiError::DeskFull) => refused += 1,
                Err(other) => unreachable!("{other:?}"),
            }
        }
        assert_eq!(refused, 3);
        assert_eq!(most.load(Ordering::SeqCst), hands);
        assert_eq!(desk.places.available_permits(), PLACES);
    }
}
