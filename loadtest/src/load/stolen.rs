//! CPU time that the host of this virtual machine gave to somebody else.
//!
//! It makes latencies longer that neither the server nor the generator is to blame for.

/// CPU time of the machine since it started, in clock ticks of all processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    all: u64,
    stolen: u64,
}

impl CpuTime {
    /// Now; `None` where the system does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line of Linux' `/proc/stat`
    /// ([proc(5)](https://docs.kernel.org/filesystems/proc.html)):
    /// `cpu`, then user, nice, system, idle, iowait, irq, softirq and steal. What follows is part
    /// of user and nice.
    fn parse(text: &str) -> Option<Self> {
        let ticks = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks = ticks.split_whitespace().take(8).map(str::parse);
        let ticks = ticks.collect::<Result<Vec<u64>, _>>().ok()?;
        Some(Self {
            all: ticks.iter().sum(),
            stolen: *ticks.get(7)?,
        })
    }

    /// The share of CPU time since `before` that was stolen, 0 to 1.
    // A measurement, not money.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    #[must_use]
    pub fn stolen_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    #[test]
    fn the_share_is_of_the_time_between() {
        let at = |idle: u64, steal: u64| {
            CpuTime::parse(&format!("cpu  10 1 5 {idle} 2 0 1 {steal} 7 0\ncpu0 1 2\n")).unwrap()
        };
        assert_eq!(at(1_090, 60).stolen_since(&at(1_000, 50)), 0.1);
        assert_eq!(at(1_000, 50).stolen_since(&at(1_000, 50)), 0.0);
        for broken in [
            "",
            "cpu",
            "cpu  1 2 3",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7 x",
        ] {
            assert_eq!(CpuTime::parse(broken), None, "{broken}");
        }
    }
}
