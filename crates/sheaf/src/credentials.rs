//! The local S3's credentials, in the one form that the AWS chain of this process takes them: a credentials file.
//!
//! The chain reads the environment, which a running program cannot change safely. So `sheaf up` first runs itself
//! again in an environment that names the file in its data directory, and nothing of the user's own AWS settings:
//! those must never reach the local server, nor its data a real bucket.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::envfile;
use crate::error::{Doing, Error, Result};

const FILE: &str = "s3-credentials";
const FILE_VARIABLE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// Runs this program again in the right environment, unless it is there already. The process id stays the same.
pub(crate) fn isolate(data_dir: &Path) -> Result<()> {
    let file = path(data_dir)?;
    let foreign = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        name.to_string_lossy().starts_with("AWS_")
            && (name != FILE_VARIABLE || value != file.as_os_str())
    };
    let foreign: Vec<_> = std::env::vars_os().filter(foreign).collect();
    if foreign.is_empty() && std::env::var_os(FILE_VARIABLE).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().doing(|| "find this program's own file".to_owned())?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    for (name, _) in foreign {
        command.env_remove(name);
    }
    let error = command.env(FILE_VARIABLE, file).exec();
    Err(Error::new(format!(
        "cannot run this program again: {error}"
    )))
}

/// Writes the file for this start.
pub(crate) fn write(data_dir: &Path, access_key: &str, secret_key: &str) -> Result<()> {
    let content = format!(
        "[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    );
    envfile::write_private(&data_dir.join(FILE), &content)
}

fn path(data_dir: &Path) -> Result<PathBuf> {
    let data_dir =
        std::path::absolute(data_dir).doing(|| format!("find {}", data_dir.display()))?;
    Ok(data_dir.join(FILE))
}
