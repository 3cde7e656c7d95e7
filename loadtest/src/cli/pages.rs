//! `completions` and `man`, from the command line's own description.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Failure;

const PROGRAM: &str = "sheaf-loadtest";

#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

#[derive(Args)]
pub(crate) struct ManArguments {
    /// Writes a page a command into this directory; made if it is missing. Default: one page on
    /// standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Prints the script of a shell.
pub(crate) fn completions(
    arguments: &CompletionsArguments,
    mut command: clap::Command,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, PROGRAM, &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}

/// Prints the page of the program, or writes those of all commands.
pub(crate) fn man(arguments: &ManArguments, command: clap::Command) -> Result<(), Failure> {
    let Some(dir) = &arguments.out else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return Ok(io::stdout().lock().write_all(&page)?);
    };
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    written.map_err(|error| {
        format!("cannot write manual pages into {}: {error}", dir.display()).into()
    })
}
