//! What a setting is where nobody says it, of those that several commands read: each of them must
//! mean the same.

/// `SHEAF_LISTEN`.
pub(crate) const LISTEN: &str = "127.0.0.1:8080";
/// `SHEAF_URL`, for clients of the API on the same machine.
pub(crate) const URL: &str = "http://127.0.0.1:8080";
/// `SHEAF_S3_REGION`.
pub(crate) const S3_REGION: &str = "us-east-1";
/// `SHEAF_MAX_CONNECTIONS_PER_NODE`.
pub(crate) const CONNECTIONS_PER_NODE: &str = "32";
/// `SHEAF_SPOOL`.
pub(crate) const SPOOL: &str = "16GiB";
/// `SHEAF_TIER_OLDER_THAN`.
pub(crate) const OLDER_THAN: &str = "12m";
/// The grace of `gc`, by which `erase` says when the last copies go.
pub(crate) const GRACE: &str = "24h";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use clap::{Command, CommandFactory};

    use super::*;
    use crate::terminal::units;

    /// Every command's arguments that the environment can set and that have a default: the
    /// variable, the command, the default.
    fn defaults(command: &Command, path: &str, found: &mut Vec<(String, String, String)>) {
        for argument in command.get_arguments() {
            let Some(variable) = argument.get_env() else {
                continue;
            };
            let values = argument.get_default_values();
            let texts: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
            if !texts.is_empty() {
                let variable = variable.to_string_lossy().into_owned();
                found.push((variable, path.to_owned(), texts.join(",")));
            }
        }
        for inner in command.get_subcommands() {
            defaults(inner, &format!("{path} {}", inner.get_name()), found);
        }
    }

    #[test]
    fn a_variable_has_one_default_whoever_reads_it() {
        let mut found = Vec::new();
        defaults(&crate::cli::Cli::command(), "sheaf", &mut found);
        let mut of_variable: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        let mut shared = 0;
        for (variable, command, default) in &found {
            let (first, known) = of_variable.entry(variable).or_insert((command, default));
            assert_eq!(known, default, "{variable} of {command} and of {first}");
            shared += u32::from(first != command);
        }
        assert!(shared > 4, "{found:?}");
    }

    #[test]
    fn what_is_the_same_in_two_forms_is_the_same() {
        assert_eq!(URL, format!("http://{LISTEN}"));
        assert_eq!(
            units::duration(GRACE).unwrap(),
            sheaf_archive::DEFAULT_GRACE
        );
        let store = sheaf_store::StoreConfig::new("");
        assert_eq!(
            store.max_connections_per_node.to_string(),
            CONNECTIONS_PER_NODE
        );
        #[cfg(feature = "local")]
        assert_eq!(units::months(OLDER_THAN), Ok(crate::up::OLDER_THAN));
    }
}
