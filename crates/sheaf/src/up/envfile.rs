//! `<data-dir>/env`: what a shell sources to reach a running `sheaf up`. It is there only while the
//! server runs.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Doing, Result};

const FILE: &str = "env";

/// Removes a stale file of a killed run, before anything slow begins. Whoever holds the directory's
/// lock runs, and keeps its file; a directory that is not ours keeps everything.
pub(crate) fn remove_stale(data_dir: &Path) -> Result<()> {
    if !data_dir.join("sheaf.json").is_file() {
        return Ok(());
    }
    let Ok(lock) = File::open(data_dir.join("lock")) else {
        return Ok(());
    };
    if lock.try_lock().is_err() {
        return Ok(());
    }
    remove(data_dir)
}

/// Removes the file, if it is there.
pub(crate) fn remove(data_dir: &Path) -> Result<()> {
    let path = data_dir.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the file.
pub(crate) fn write(data_dir: &Path, lines: &str) -> Result<()> {
    write_private(&data_dir.join(FILE), lines)
}

/// The variables as lines that a shell reads.
pub(crate) fn render(variables: &[(&str, &str)]) -> String {
    variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quote(value)))
        .collect()
}

/// Values that a shell takes as they are stay so; others stand in single quotes.
fn quote(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:/@%+=".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Writes a file with mode 0600, all or nothing.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let written = || {
        // A file that is there already would keep its mode.
        match fs::remove_file(new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(new)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)
    };
    written().doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn values_are_safe_in_a_shell() {
        let lines = render(&[
            ("A", "postgres://u:p@127.0.0.1:1/d"),
            ("B", "it's $HOME"),
            ("C", ""),
        ]);
        assert_eq!(
            lines,
            "export A=postgres://u:p@127.0.0.1:1/d\nexport B='it'\\''s $HOME'\nexport C=''\n"
        );
    }

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old and longer").unwrap();
        write_private(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_a_stale_env_file_of_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let env = dir.path().join("env");
        fs::write(&env, "").unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        remove_stale(dir.path()).unwrap();
        assert!(env.exists(), "not ours");

        fs::write(dir.path().join("sheaf.json"), "{}").unwrap();
        let lock = File::open(dir.path().join("lock")).unwrap();
        lock.lock().unwrap();
        remove_stale(dir.path()).unwrap();
        assert!(env.exists(), "another process runs here");

        drop(lock);
        remove_stale(dir.path()).unwrap();
        assert!(!env.exists());
    }
}
