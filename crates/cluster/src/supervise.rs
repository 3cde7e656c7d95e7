//! Panics cost one piece of work: they are caught, counted and told, and what ran goes on.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

/// Before a task that has panicked begins again: one that panics at once must not take a whole
/// core.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a task that lives as long as the process, and begins it again when it panics. It ends when
/// the task returns.
///
/// What the task held at the time of the panic is dropped with it: a task that keeps anything
/// between its steps keeps it outside of `run`.
pub async fn supervised<F>(task: &'static str, mut run: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    metrics::counter!("sheaf_panics_total", "task" => task).increment(0);
    loop {
        if caught(task, async { run().await }).await.is_ok() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a future to its end, or to its panic, whose text is the error.
///
/// # Errors
/// The panic's text.
pub async fn caught<T>(task: &'static str, future: impl Future<Output = T>) -> Result<T, String> {
    // Nothing of what a panic leaves behind is looked at again: connections close, guards are given
    // back.
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|panic| {
            let text = panic_text(panic.as_ref());
            metrics::counter!("sheaf_panics_total", "task" => task).increment(1);
            tracing::error!(task, text, "a panic was caught");
            text
        })
}

/// What a panic says.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("of unknown kind"))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_begins_again_and_one_that_ends_does_not() {
        let runs = Cell::new(0);
        let run = || async {
            runs.set(runs.get() + 1);
            assert!(runs.get() > 2, "not yet");
        };
        supervised("test", run).await;
        assert_eq!(runs.get(), 3);
    }

    #[tokio::test]
    async fn the_text_of_a_panic_is_its_error() {
        let panics = caught("test", async { panic!("{} fell over", "it") });
        let text: Result<(), String> = panics.await;
        assert_eq!(text, Err("panic: it fell over".to_owned()));
        assert_eq!(caught("test", async { 7 }).await, Ok(7));
    }
}
