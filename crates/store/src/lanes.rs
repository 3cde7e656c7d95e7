//! A lane per shard: a bounded queue and one task that takes from it whatever has arrived while it was busy.
//! Writers and readers share this shape.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Why a job was not taken.
pub(crate) enum Refused {
    /// The queue is full.
    Full,
    /// The store is closing.
    Closed,
}

/// Lanes by shard id, made when first used; there are never more than shards.
pub(crate) struct Lanes<J> {
    senders: Mutex<Option<HashMap<i64, mpsc::Sender<J>>>>,
    tasks: TaskTracker,
    queue: usize,
}

impl<J: Send + 'static> Lanes<J> {
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            senders: Mutex::new(Some(HashMap::new())),
            tasks: TaskTracker::new(),
            queue,
        }
    }

    /// Puts a job into the shard's lane; `run` is the lane's task, started with the lane.
    pub(crate) fn submit<F, T>(&self, shard: i64, job: J, run: F) -> Result<(), Refused>
    where
        F: FnOnce(mpsc::Receiver<J>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut guard = self
            .senders
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(senders) = guard.as_mut() else {
            return Err(Refused::Closed);
        };
        let sender = senders.entry(shard).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(self.queue);
            self.tasks.spawn(run(receiver));
            sender
        });
        sender.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
        })
    }

    /// Takes no more jobs, and waits until those taken are done.
    pub(crate) async fn drain(&self) {
        self.senders
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
