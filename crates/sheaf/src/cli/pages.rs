//! `sheaf completions` and `sheaf man`, from the command line's own description.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Doing, Result};
use crate::terminal::output;

const PROGRAM: &str = "sheaf";

/// Prints the script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<()> {
    output::write(&script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    script
}

/// Prints the page of the program, or writes those of all commands.
pub(crate) fn man(args: &ManArgs) -> Result<()> {
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        let rendered = Man::new(Cli::command()).render(&mut page);
        rendered.doing(|| "render the manual page".to_owned())?;
        return output::write(&page);
    };
    let doing = || format!("write manual pages into {}", dir.display());
    std::fs::create_dir_all(dir).doing(doing)?;
    clap_mangen::generate_to(Cli::command(), dir).doing(doing)?;
    output::note(&format!("manual pages are in {}", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `sheaf cluster add-node` as `sheaf-cluster-add-node`.
    fn names(command: &clap::Command, prefix: &str) -> Vec<String> {
        let mut names = vec![prefix.to_owned()];
        for inner in command.get_subcommands() {
            names.extend(self::names(
                inner,
                &format!("{prefix}-{}", inner.get_name()),
            ));
        }
        names
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["doctor", "rebalance", "database-url", "completions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let dir = tempfile::tempdir().unwrap();
        let out = Some(dir.path().join("man1"));
        man(&ManArgs { out: out.clone() }).unwrap();
        let names = names(&Cli::command(), PROGRAM);
        assert!(names.contains(&"sheaf-cluster-add-node".to_owned()));
        for name in names {
            let page = std::fs::read_to_string(out.as_ref().unwrap().join(format!("{name}.1")));
            assert!(page.is_ok_and(|page| page.contains(".TH")), "{name}");
        }
    }
}
