//! Finds installed PostgreSQL servers, and whether Citus is installed in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{LocalError, Result};

/// How the extension is installed, by those who make it.
pub const CITUS_INSTALLATION: &str =
    "https://docs.citusdata.com/en/stable/installation/multi_node.html";

/// The oldest major version that the schema and Citus 13 support.
const OLDEST_MAJOR: u32 = 15;

/// Directories with one subdirectory per installed version, and the way from there to the binaries.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// One PostgreSQL server installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Directory of `postgres`, `initdb` and `pg_ctl`.
    pub bindir: PathBuf,
    /// Major version, such as 15.
    pub major: u32,
    /// Whether the Citus extension's control file and library are both there.
    pub citus: bool,
    /// Whether the `pg_stat_statements` library is there.
    pub stat_statements: bool,
}

impl Install {
    /// All usable installations, in the order of preference: `PATH`, `pg_config --bindir`, then the
    /// package managers' usual places from the highest version down.
    ///
    /// # Errors
    /// [`LocalError::PostgresMissing`] when there is none.
    pub fn discover() -> Result<Vec<Self>> {
        let mut seen = BTreeSet::new();
        let found: Vec<Self> = candidate_dirs()
            .into_iter()
            .filter_map(|dir| Self::inspect(&dir))
            .filter(|install| seen.insert(install.bindir.clone()))
            .collect();
        if found.is_empty() {
            Err(LocalError::PostgresMissing)
        } else {
            Ok(found)
        }
    }

    /// Looks at one directory; `None` unless it holds a server of a supported version.
    fn inspect(dir: &Path) -> Option<Self> {
        // Links such as /usr/local/bin/postgres are followed: the libraries lie beside the real
        // file.
        let bindir = dir
            .join("postgres")
            .canonicalize()
            .ok()?
            .parent()?
            .to_path_buf();
        if !["postgres", "initdb", "pg_ctl"]
            .iter()
            .all(|name| bindir.join(name).is_file())
        {
            return None;
        }
        let major = major_version(&output(&bindir.join("postgres"), "--version")?)?;
        if major < OLDEST_MAJOR {
            return None;
        }
        let (lib, share) = (library_dirs(&bindir, major), share_dirs(&bindir, major));
        let library = |name: &str| {
            lib.iter().any(|dir| {
                ["so", "dylib"]
                    .iter()
                    .any(|ext| dir.join(name).with_extension(ext).is_file())
            })
        };
        let control = share
            .iter()
            .any(|dir| dir.join("extension/citus.control").is_file());
        Some(Self {
            citus: control && library("citus"),
            stat_statements: library("pg_stat_statements"),
            bindir,
            major,
        })
    }

    /// Whether the server has this setting: minor versions bring new ones.
    pub(crate) fn has_setting(&self, name: &str) -> bool {
        output(&self.program("postgres"), "--describe-config").is_some_and(|settings| {
            settings
                .lines()
                .any(|line| line.split('\t').next() == Some(name))
        })
    }

    /// Full path of one of the installation's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }
}

fn candidate_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .filter(|dir| dir.is_absolute())
        .collect();
    if let Some(bindir) = output(Path::new("pg_config"), "--bindir") {
        dirs.push(PathBuf::from(bindir));
    }
    let mut versioned: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, tail) in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        versioned.extend(entries.flatten().filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((version, entry.path().join(tail)))
        }));
    }
    versioned.sort_by(|a, b| b.cmp(a));
    dirs.extend(versioned.into_iter().map(|(_, dir)| dir));
    dirs
}

fn library_dirs(bindir: &Path, major: u32) -> Vec<PathBuf> {
    let mut dirs = asked(bindir, "--pkglibdir", major);
    dirs.extend(["../lib", "../lib/postgresql"].map(|tail| bindir.join(tail)));
    dirs
}

fn share_dirs(bindir: &Path, major: u32) -> Vec<PathBuf> {
    let mut dirs = asked(bindir, "--sharedir", major);
    dirs.extend(["../share", "../share/postgresql"].map(|tail| bindir.join(tail)));
    dirs.push(PathBuf::from(format!("/usr/share/postgresql/{major}")));
    dirs.push(PathBuf::from(format!("/usr/share/postgresql{major}")));
    dirs
}

/// Asks the installation's own `pg_config`; distributions often ship it in another package.
fn asked(bindir: &Path, question: &str, major: u32) -> Vec<PathBuf> {
    let own = bindir.join("pg_config");
    let right_one = output(&own, "--version").and_then(|text| major_version(&text)) == Some(major);
    if right_one {
        output(&own, question)
            .map(PathBuf::from)
            .into_iter()
            .collect()
    } else {
        Vec::new()
    }
}

fn output(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Reads 15 from `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`, and 18 from `PostgreSQL 18beta1`.
fn major_version(text: &str) -> Option<u32> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn version_texts() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_version("PostgreSQL 18beta1"), Some(18));
        assert_eq!(major_version("postgres"), None);
    }
}
