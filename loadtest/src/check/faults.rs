//! What goes wrong meanwhile: commands that break something, or do an operator's work.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::process::Command;

type Inflict = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Something that happens to the system now and then. It is over, and what it broke is whole again,
/// when it returns.
#[derive(Clone)]
pub struct Fault {
    /// For the report.
    pub name: String,
    /// Tenants without an archive have no part in it: it is an operator's work, or it is the
    /// archive that breaks.
    pub spares: bool,
    inflict: Inflict,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Fault {
    /// A fault that this program inflicts.
    pub fn new<F>(name: &str, inflict: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let inflict: Inflict = Arc::new(move || Box::pin(inflict()));
        Self {
            name: name.to_owned(),
            spares: false,
            inflict,
        }
    }

    /// The same, where nobody without an archive may notice it.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self {
            spares: true,
            ..self
        }
    }

    /// A fault that a command of `sh` inflicts.
    #[must_use]
    pub fn command(name: &str, command: &str) -> Self {
        let command: Arc<str> = command.into();
        Self::new(name, move || {
            let command = Arc::clone(&command);
            async move {
                let mut shell = Command::new("sh");
                shell.args(["-c", &*command]).kill_on_drop(true);
                let done = shell.output().await.map_err(|error| error.to_string())?;
                if done.status.success() {
                    return Ok(());
                }
                let said = String::from_utf8_lossy(&done.stderr);
                let last = said.lines().last().unwrap_or_default().to_owned();
                Err(format!("{}: {last}", done.status))
            }
        })
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// It could not be inflicted, or not be made good.
    pub async fn inflict(&self) -> Result<(), String> {
        (self.inflict)().await
    }
}

/// One time that a fault happened.
#[derive(Clone, Debug, Serialize)]
pub struct Inflicted {
    /// Which.
    pub name: String,
    /// See [`Fault::spares`].
    pub spares: bool,
    /// Since the start of the run.
    pub begun: Duration,
    /// The same.
    pub ended: Duration,
    /// Why it was not inflicted as planned.
    pub failed: Option<String>,
}

/// Lets faults happen one after another, in an order that chance makes, with pauses, until `until`;
/// from `calm` on only those that spare tenants without an archive.
pub(super) async fn inflict(
    faults: &[Fault],
    pause: Duration,
    mut chance: ChaCha8Rng,
    (start, calm, until): (Instant, Instant, Instant),
) -> Vec<Inflicted> {
    let mut inflicted = Vec::new();
    let sparing: Vec<&Fault> = faults.iter().filter(|fault| fault.spares).collect();
    let all: Vec<&Fault> = faults.iter().collect();
    loop {
        let faults = if Instant::now() < calm {
            &all
        } else {
            &sparing
        };
        if all.is_empty() || faults.is_empty() && Instant::now() >= calm {
            break;
        }
        let pause = pause.mul_f64(chance.random_range(0.2..1.8));
        if Instant::now() + pause >= until {
            break;
        }
        tokio::time::sleep(pause).await;
        let Some(fault) = faults.choose(&mut chance) else {
            continue;
        };
        let begun = start.elapsed();
        let failed = fault.inflict().await.err();
        let ended = start.elapsed();
        inflicted.push(Inflicted {
            name: fault.name.clone(),
            spares: fault.spares,
            begun,
            ended,
            failed,
        });
    }
    inflicted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        assert_eq!(Fault::command("good", "true").inflict().await, Ok(()));
        let failed = Fault::command("bad", "echo why >&2; exit 3")
            .inflict()
            .await;
        assert!(failed.is_err_and(|why| why.contains('3') && why.contains("why")));
    }
}
