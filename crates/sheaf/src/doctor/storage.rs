//! S3: whether it does what the archive relies on.

use std::time::Duration;

use sheaf_archive::object::probe::{Ability, Verdict, probe};

use super::report::Report;
use crate::settings::{DoctorSettings, set};

const KEY: &str = "AWS_ACCESS_KEY_ID";
/// How the storage's refusal of a bucket ends that is not there.
const MISSING: &str = "it does not exist";

pub(super) async fn look(settings: &DoctorSettings, patience: Duration, report: &mut Report) {
    let Some(config) = settings.s3() else {
        return report.fail(
            "s3",
            None,
            "SHEAF_S3_BUCKET is not set",
            "name the bucket of the archive, and with SHEAF_S3_ENDPOINT an S3 other than AWS",
        );
    };
    let has_key = set(std::env::var(KEY).ok().as_deref()).is_some();
    let credentials = match has_key {
        true => format!("{KEY} is set"),
        false => format!("{KEY} is not set: they come from a profile or a role"),
    };
    report.ok("s3 credentials", None, credentials);
    let on = config.endpoint.as_deref().map_or_else(
        || format!("AWS {}", config.region),
        |endpoint| without_login(endpoint).to_owned(),
    );
    for tried in Box::pin(probe(&config, patience)).await {
        let name = name_of(tried.ability);
        match tried.verdict {
            Verdict::Good(seen) => report.ok(name, Some(&on), seen),
            Verdict::Weak(seen) => report.warn(name, Some(&on), seen, weak(tried.ability)),
            Verdict::Broken(seen) if seen.ends_with(MISSING) => {
                let advice = "create the bucket, or name another one in SHEAF_S3_BUCKET";
                report.fail(name, Some(&on), seen, advice);
            }
            Verdict::Broken(seen) => report.fail(name, Some(&on), seen, broken(tried.ability)),
        }
    }
}

/// A URL without the login that it may hold.
fn without_login(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

fn name_of(ability: Ability) -> &'static str {
    match ability {
        Ability::Bucket => "s3 bucket",
        Ability::Clock => "s3 clock",
        Ability::Put => "s3 put",
        Ability::PutIfAbsent => "s3 if-none-match",
        Ability::Checksum => "s3 checksum",
        Ability::RangedGet => "s3 ranged get",
        Ability::List => "s3 list",
        Ability::Delete => "s3 delete",
    }
}

fn weak(ability: Ability) -> &'static str {
    match ability {
        Ability::Clock => "let both follow a time server",
        Ability::PutIfAbsent => {
            "Sheaf asks by HEAD first, so one runner at a time is safe; Object Lock may be ignored \
            by such a server as well"
        }
        Ability::Checksum => {
            "Sheaf reads back and compares before a row is deleted; run `sheaf archive verify` \
            regularly"
        }
        _ => "",
    }
}

fn broken(ability: Ability) -> &'static str {
    match ability {
        Ability::Bucket => {
            "look at SHEAF_S3_ENDPOINT, SHEAF_S3_BUCKET, SHEAF_S3_REGION and the credentials \
            (AWS_ACCESS_KEY_ID, \
             AWS_SECRET_ACCESS_KEY)"
        }
        Ability::Clock => "set the clocks; let both follow a time server",
        _ => {
            "the credentials need GET, HEAD, PUT, DELETE and LIST in the bucket \
            (docs/operations.md, Care of the archive)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn a_login_in_a_url_is_not_shown() {
        assert_eq!(
            without_login("https://u:secret@s3.example:9000"),
            "s3.example:9000"
        );
        assert_eq!(
            without_login("http://127.0.0.1:9000"),
            "http://127.0.0.1:9000"
        );
    }
}
