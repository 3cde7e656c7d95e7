//! CPU time of processes and of what they started, from `/proc`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// What we read of `/proc/<pid>/stat`; times in clock ticks.
struct Stat {
    parent: u32,
    /// In user and kernel mode.
    own: u64,
    /// Of children that have ended and were waited for.
    ended_children: u64,
}

impl Stat {
    fn read(process: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(process.join("stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything; the fields after it are counted from 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(14)? + ticks(15)?,
            ended_children: ticks(16)? + ticks(17)?,
        })
    }
}

/// The process that started this one.
pub(crate) fn parent(pid: u32) -> Result<u32, Failure> {
    let stat = Stat::read(Path::new(&format!("/proc/{pid}")));
    Ok(stat
        .ok_or("a server is on another machine, or has ended")?
        .parent)
}

/// CPU seconds of a process and its children so far, ended ones included. A PostgreSQL server is
/// one level of children.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) fn seconds(pid: u32) -> Result<f64, Failure> {
    let own = Stat::read(Path::new(&format!("/proc/{pid}"))).ok_or("a server has ended")?;
    let mut ticks = own.own + own.ended_children;
    for process in fs::read_dir("/proc")?.flatten() {
        // Others end while we look.
        if let Some(stat) = Stat::read(&process.path()).filter(|stat| stat.parent == pid) {
            ticks += stat.own + stat.ended_children;
        }
    }
    let per_second = Command::new("getconf").arg("CLK_TCK").output()?.stdout;
    let per_second: f64 = String::from_utf8(per_second)?.trim().parse()?;
    Ok(ticks as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "77 (postgres: a) b) S 5 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 9 1 1";
        let read = Stat::parse(stat).map(|s| (s.parent, s.own, s.ended_children));
        assert_eq!(read, Some((5, 120, 7)));
        assert!(Stat::parse("77 (x").is_none());
    }
}
