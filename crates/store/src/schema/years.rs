//! Which years have a partition, as this process knows it.

use std::sync::atomic::{AtomicU64, Ordering};

use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use tokio::sync::Mutex;

const BITS: usize = 64;
const WORDS: usize = (MAX_YEAR - MIN_YEAR) as usize / BITS + 1;

/// A bit a year: whoever writes asks without waiting for one who makes a year.
#[derive(Default)]
pub(crate) struct Years {
    known: [AtomicU64; WORDS],
    /// Held while a year is made: DDL of one process goes one after the other, as that of all of
    /// them does.
    pub(crate) making: Mutex<()>,
}

/// The year's word and bit; none for a year that no id carries.
fn place(year: i16) -> Option<(usize, u64)> {
    let offset = usize::try_from(year.checked_sub(MIN_YEAR)?).ok()?;
    let word = offset / BITS;
    (year <= MAX_YEAR).then_some((word, 1 << (offset % BITS)))
}

impl Years {
    /// Whether the year's partitions are known to exist.
    pub(crate) fn has(&self, year: i16) -> bool {
        place(year).is_some_and(|(word, bit)| self.known[word].load(Ordering::Relaxed) & bit != 0)
    }

    pub(crate) fn learn(&self, year: i16) {
        if let Some((word, bit)) = place(year) {
            self.known[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn forget(&self) {
        for word in &self.known {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_known_one_by_one() {
        let years = Years::default();
        for year in [MIN_YEAR, 2025, MAX_YEAR] {
            assert!(!years.has(year));
            years.learn(year);
            assert!(years.has(year));
        }
        assert!(!years.has(2024) && !years.has(2026));
        years.forget();
        assert!(!years.has(2025));
        for year in [i16::MIN, MIN_YEAR - 1, MAX_YEAR + 1, i16::MAX] {
            years.learn(year);
            assert!(!years.has(year));
        }
    }
}
