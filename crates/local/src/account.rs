//! Whom PostgreSQL runs as. The server and initdb refuse root, so under root they run as an
//! unprivileged account.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::{IoContext, LocalError, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// How to run PostgreSQL's programs for one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// `None` when we are not root: the programs run as we do.
    account: Option<Account>,
    /// The account gets CAP_DAC_OVERRIDE, because a parent directory is closed to it.
    override_access: bool,
}

impl Launcher {
    /// Creates `dir` (the parent of the nodes' directories), gives it to the account, and makes
    /// sure that the account gets there.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        crate::datadir::closed_dir(dir)?;
        if !rustix::process::geteuid().is_root() {
            return Ok(Self {
                account: None,
                override_access: false,
            });
        }
        let account = choose_account(dir)?;
        chown(dir, Some(account.uid), Some(account.gid)).at("change the owner of", dir)?;
        for override_access in [false, true] {
            let launcher = Self {
                account: Some(account.clone()),
                override_access,
            };
            if launcher.reaches(dir) {
                return Ok(launcher);
            }
        }
        Err(LocalError::Unreachable {
            account: account.name,
            dir: dir.to_path_buf(),
        })
    }

    /// A command that runs `program` as the account, away from our working directory and
    /// environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match &self.account {
            Some(account) if self.override_access => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={}", account.uid))
                    .arg(format!("--regid={}", account.gid))
                    .args([
                        "--clear-groups",
                        "--inh-caps=+dac_override",
                        "--ambient-caps=+dac_override",
                        "--",
                    ])
                    .arg(program);
                command
            }
            Some(account) => {
                let mut command = Command::new(program);
                command.uid(account.uid).gid(account.gid);
                command
            }
            None => Command::new(program),
        };
        // PGDATA, PGPORT, LC_ALL and the like must not leak in.
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_os_string());
        command
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/");
        command
    }

    /// Writes a file that only the account may read.
    pub(crate) fn write_secret(&self, path: &Path, content: &str) -> Result<()> {
        crate::datadir::write_private(path, content.as_bytes())?;
        if let Some(account) = &self.account {
            chown(path, Some(account.uid), Some(account.gid)).at("change the owner of", path)?;
        }
        Ok(())
    }

    /// Whether the account gets through all of `dir`'s parents. `test -x` would ask access(2),
    /// which ignores ambient capabilities; a stat inside the directory tells.
    fn reaches(&self, dir: &Path) -> bool {
        self.command(Path::new("test"))
            .arg("-d")
            .arg(dir.join("."))
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// The owner of an existing directory stays; a new one goes to `postgres`, else to `nobody`.
fn choose_account(dir: &Path) -> Result<Account> {
    let owner = fs::metadata(dir).at("look at", dir)?;
    if owner.uid() != 0 {
        return Ok(Account {
            name: format!("with id {}", owner.uid()),
            uid: owner.uid(),
            gid: owner.gid(),
        });
    }
    let passwd = fs::read_to_string("/etc/passwd").at("read", Path::new("/etc/passwd"))?;
    find_account(&passwd, "postgres")
        .or_else(|| find_account(&passwd, "nobody"))
        .ok_or(LocalError::NoAccount)
}

fn find_account(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Account {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::find_account;

    #[test]
    fn accounts_come_from_passwd() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let account = find_account(passwd, "postgres").map(|found| (found.uid, found.gid));
        assert_eq!(account, Some((101, 104)));
        assert_eq!(find_account(passwd, "nobody"), None);
        assert_eq!(find_account(passwd, "root"), None, "root is never a choice");
    }
}
