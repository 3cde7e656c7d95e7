//! `--config`: settings from a TOML file, below the environment and flags. A setting is called
//! there as its variable is, without SHEAF_ and in small letters. What the file says becomes flags
//! of the command that takes them, unless the flag or the variable is given, so that every value is
//! read and refused in the same way wherever it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Command;
use toml::Value;

use crate::error::{Doing, Error, Result};
use crate::terminal::output;

const PREFIX: &str = "SHEAF_";
const VARIABLE: &str = "SHEAF_CONFIG";
const FLAG: &str = "--config";
/// Bytes of a file that is read: settings are a page of text.
const MAX_BYTES: u64 = 1 << 20;
/// How alike a name must be to be proposed, of 1.
const ALIKE: f64 = 0.7;

/// What the file says, by the name of the variable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config(BTreeMap<String, String>);

impl Config {
    /// Reads the file that the arguments or the environment name, if any.
    pub(crate) fn of(command: &Command, arguments: &[OsString]) -> Result<Self> {
        let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        let Some(path) = flag(arguments).or(variable).map(PathBuf::from) else {
            return Ok(Self::default());
        };
        let doing = || format!("read the settings in {}", path.display());
        let metadata = std::fs::metadata(&path).doing(doing)?;
        if metadata.len() > MAX_BYTES {
            let path = path.display();
            return Err(Error::new(format!("{path} is too long for settings")));
        }
        let text = std::fs::read_to_string(&path).doing(doing)?;
        let known = Known::of(command);
        let config = Self::parse(&text, &path, &known)?;
        let secrets: Vec<String> = known
            .secrets
            .iter()
            .filter(|name| config.0.contains_key(*name))
            .map(|name| key_of(name))
            .collect();
        if !secrets.is_empty() && metadata.permissions().mode() & 0o004 != 0 {
            let (path, secrets) = (path.display(), secrets.join(", "));
            output::note(&format!(
                "{path} holds secrets ({secrets}), and every user of this machine can read it: \
                chmod o-r {path}"
            ));
        }
        Ok(config)
    }

    fn parse(text: &str, path: &Path, known: &Known) -> Result<Self> {
        let refused = |what: String| Err(Error::new(format!("{}: {what}", path.display())));
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            // Its Display shows the line, which may hold a secret.
            Err(error) => {
                let line = error.span().map(|span| {
                    let before = text.get(..span.start).unwrap_or_default();
                    before.matches('\n').count() + 1
                });
                let at = line.map_or_else(String::new, |line| format!("line {line}: "));
                return refused(format!("{at}{}", error.message().trim_end()));
            }
        };
        let mut settings = BTreeMap::new();
        for (key, value) in table {
            let name = format!("{PREFIX}{}", key.to_uppercase());
            if key.chars().any(char::is_uppercase) || !known.names.contains(&name) {
                return refused(format!(
                    "there is no setting {key:?}{}",
                    known.proposal(&key)
                ));
            }
            let value = match value {
                Value::String(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Boolean(flag) => flag.to_string(),
                _ => {
                    return refused(format!(
                        "{key} must be a text in quotes, a whole number, true or false"
                    ));
                }
            };
            settings.insert(name, value);
        }
        Ok(Self(settings))
    }

    /// The value of a variable that is not set.
    pub(crate) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    /// The arguments, with what the file says of the command that they name.
    pub(crate) fn complete(&self, command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
        let set = |variable: &OsStr| std::env::var_os(variable).is_some();
        self.complete_unless(command, arguments, set)
    }

    fn complete_unless(
        &self,
        command: &Command,
        mut arguments: Vec<OsString>,
        is_set: impl Fn(&OsStr) -> bool,
    ) -> Vec<OsString> {
        let Some((leaf, behind)) = leaf(command, &arguments) else {
            return arguments;
        };
        let mut flags = Vec::new();
        for argument in leaf.get_arguments() {
            let (Some(long), Some(variable)) = (argument.get_long(), argument.get_env()) else {
                continue;
            };
            let Some(value) = variable.to_str().and_then(|name| self.get(name)) else {
                continue;
            };
            let long = format!("--{long}");
            if !is_set(variable) && !arguments.iter().any(|given| is_flag(given, &long)) {
                flags.push(OsString::from(format!("{long}={value}")));
            }
        }
        arguments.splice(behind..behind, flags);
        arguments
    }
}

/// All settings there are.
struct Known {
    names: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl Known {
    fn of(command: &Command) -> Self {
        let mut known = Self {
            names: BTreeSet::new(),
            secrets: BTreeSet::new(),
        };
        known.add(command);
        known.names.remove(VARIABLE);
        known
    }

    fn add(&mut self, command: &Command) {
        for argument in command.get_arguments() {
            let name = argument.get_env().and_then(OsStr::to_str);
            let Some(name) = name.filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            self.names.insert(name.to_owned());
            if argument.is_hide_env_values_set() {
                self.secrets.insert(name.to_owned());
            }
        }
        command.get_subcommands().for_each(|inner| self.add(inner));
    }

    /// The name that was probably meant.
    fn proposal(&self, key: &str) -> String {
        let key = key.to_lowercase();
        let key = key.strip_prefix("sheaf_").unwrap_or(&key);
        let like = |name: &String| {
            let name = key_of(name);
            (strsim::jaro_winkler(&name, key), name)
        };
        let nearest = self.names.iter().map(like);
        let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest.filter(|(alike, _)| *alike > ALIKE) {
            Some((_, name)) => format!("; {name} is one"),
            None => "; docs/cli.md says how they are called".to_owned(),
        }
    }
}

fn key_of(variable: &str) -> String {
    variable
        .strip_prefix(PREFIX)
        .unwrap_or(variable)
        .to_lowercase()
}

/// The value of `--config`.
fn flag(arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == FLAG {
            return arguments.next().cloned();
        }
        let value = argument.to_str().and_then(|text| text.strip_prefix(FLAG));
        if let Some(path) = value.and_then(|value| value.strip_prefix('=')) {
            return Some(path.into());
        }
    }
    None
}

fn is_flag(given: &OsStr, long: &str) -> bool {
    let rest = given.to_str().and_then(|given| given.strip_prefix(long));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The command that the arguments name, and where its own arguments begin.
fn leaf<'a>(command: &'a Command, arguments: &[OsString]) -> Option<(&'a Command, usize)> {
    let (mut at, mut current, mut found) = (1, command, None);
    while let Some(argument) = arguments.get(at).and_then(|argument| argument.to_str()) {
        if let Some(inner) = current.find_subcommand(argument) {
            (current, found) = (inner, Some((inner, at + 1)));
        } else if argument == FLAG {
            at += 1;
        } else if !argument.starts_with("--config=") {
            break;
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn parse(text: &str) -> Result<Config> {
        let known = Known::of(&Cli::command());
        Config::parse(text, Path::new("sheaf.toml"), &known)
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_file_is_below_the_environment_which_is_below_flags() {
        let text = "database_url = \"from the file\"\ns3_bucket = \"from the file\"\nlisten = \
            \"from the file\"\nqueries = 3";
        let config = parse(text).unwrap();
        let command = Cli::command();
        let complete = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from).collect();
            let is_set = |name: &OsStr| name == "SHEAF_S3_BUCKET";
            let complete = config.complete_unless(&command, arguments, is_set);
            let text = |argument: OsString| argument.into_string().unwrap();
            complete.into_iter().map(text).collect::<Vec<_>>()
        };
        let flags = [
            "sheaf",
            "--config",
            "serve",
            "serve",
            "--listen",
            "from a flag",
        ];
        assert_eq!(
            complete(&flags),
            [
                &flags[..4],
                &["--database-url=from the file", "--queries=3"],
                &flags[4..]
            ]
            .concat()
        );
        // A command gets what it takes, and no more.
        let verify = ["sheaf", "archive", "verify", "--config=x", "--rate", "1MiB"];
        let expected = [
            &verify[..3],
            &["--database-url=from the file"],
            &verify[3..],
        ];
        assert_eq!(complete(&verify), expected.concat());
        for nothing in [
            &["sheaf"][..],
            &["sheaf", "--help"],
            &["sheaf", "frobnicate"],
        ] {
            assert_eq!(complete(nothing), nothing);
        }
    }

    #[test]
    fn what_the_file_says_is_read_as_flags_are() {
        let config = parse(
            "tier_interval = \"1h\"\njwt_skew = \"2m\"\nadmin_key = \"k\"\n\
             s3_bucket = \"b\"\nproxies = 2\napi_database_url = \"u\"",
        )
        .unwrap();
        let command = Cli::command();
        let of = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from).collect();
            let complete = config.complete_unless(&command, arguments, |_| false);
            command.clone().try_get_matches_from(complete)
        };
        assert!(of(&["sheaf", "serve"]).is_ok());
        let wrong = parse("tier_interval = \"soon\"").unwrap();
        let arguments = vec!["sheaf".into(), "serve".into()];
        let arguments = wrong.complete_unless(&command, arguments, |_| false);
        let refused = command.clone().try_get_matches_from(arguments);
        assert!(refused.unwrap_err().to_string().contains("tier-interval"));
    }

    #[test]
    fn every_setting_has_a_name_and_a_mistaken_one_is_refused_with_the_nearest() {
        let known = Known::of(&Cli::command());
        for name in [
            "SHEAF_DATABASE_URL",
            "SHEAF_URL",
            "SHEAF_SHARDS",
            "SHEAF_JWT_SECRET",
        ] {
            assert!(known.names.contains(name), "{name}");
        }
        assert!(known.secrets.contains("SHEAF_JWT_SECRET"));
        assert!(!known.secrets.contains("SHEAF_S3_BUCKET"));
        for (wrong, words) in [
            (
                "s3_buckt = \"b\"",
                "there is no setting \"s3_buckt\"; s3_bucket is one",
            ),
            ("SHEAF_S3_BUCKET = \"b\"", "s3_bucket is one"),
            ("xylophone = 1", "docs/cli.md"),
            ("config = \"x\"", "there is no setting \"config\""),
            ("queries = 1.5", "queries must be"),
            ("[s3]\nbucket = \"b\"", "there is no setting \"s3\""),
            ("a = 1\nadmin_key = \"secret\nb = 2", "line 2"),
        ] {
            let refused = refusal(wrong);
            assert!(refused.contains(words), "{wrong}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
