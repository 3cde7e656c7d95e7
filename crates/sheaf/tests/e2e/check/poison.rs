//! Hostile tenants beside quiet ones, on a server of their own: extremes of fields, and everything
//! at once.
//!
//! The suite tries each fourth field; `SHEAF_POISON_EVERY` is how many of them make one (`make
//! check`: 1, all of them), and `SHEAF_CHECK_SEED` says which. `SHEAF_POISON_ONLY` is what `--only`
//! of `sheaf-loadtest poison` is.

use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::poison::neighbours;
use sheaf_loadtest::poison::neighbours::neighbours;
use sheaf_loadtest::poison::{Settings, Share, poison};
use sheaf_local::CitusMode;
use std::time::Duration;

use crate::check::histories::{SEED, number};
use crate::command::cluster::{ADMIN_KEY, Rig};

/// Two cores carry the servers, the quiet and the hostile: what is measured is fairness, not speed.
const RATIO: f64 = 3.0;

/// Of so many fields one is tried.
const EVERY: u64 = 4;

#[test]
fn no_field_at_its_extremes_hurts_anyone() {
    poisoned(CitusMode::Off, 0);
}

#[test]
#[ignore = "minutes: run by make check"]
fn citus_no_field_at_its_extremes_hurts_anyone() {
    poisoned(CitusMode::Require, 2);
}

fn poisoned(citus: CitusMode, workers: usize) {
    let mut rig = Rig::start_with(citus, workers, "2");
    let metrics = format!("127.0.0.1:{}", rig.local.port("metrics").unwrap());
    rig.env
        .insert("SHEAF_METRICS_LISTEN".to_owned(), metrics.clone());
    let _serving = rig.serve();
    let seed = number("SHEAF_CHECK_SEED", SEED);
    let every = usize::try_from(number("SHEAF_POISON_EVERY", EVERY).max(1)).unwrap();
    let from = usize::try_from(seed).unwrap() % every;
    let only = std::env::var("SHEAF_POISON_ONLY").ok();
    let settings = Settings {
        server: Server::parse(&rig.env["SHEAF_URL"]).unwrap(),
        metrics: Some(Server::parse(&format!("http://{metrics}")).unwrap()),
        admin_key: ADMIN_KEY.to_owned(),
        only: only.clone(),
        share: Share { every, from },
    };
    let report = rig.runtime.block_on(poison(settings)).unwrap();
    eprintln!(
        "seed {seed}: {} cases of {} fields",
        report.cases, report.fields
    );
    let findings = &report.findings;
    assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
    // A document that lost its fields would find nothing.
    assert!(
        only.is_some() || (report.cases * every > 5_000 && report.fields * every > 300),
        "{report:?}"
    );
}

#[test]
#[ignore = "minutes: run by make check"]
fn citus_quiet_tenants_hardly_notice_a_hostile_one() {
    let mut rig = Rig::start_with(CitusMode::Require, 2, "8");
    let _serving = rig.serve();
    let settings = neighbours::Settings {
        server: Server::parse(&rig.env["SHEAF_URL"]).unwrap(),
        admin_key: ADMIN_KEY.to_owned(),
        rounds: 5,
        duration: Duration::from_secs(3),
        connections: 24,
    };
    let report = rig.runtime.block_on(neighbours(settings)).unwrap();
    eprintln!("{report:?}");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(
        report.hostile > 100,
        "the hostile tenant did next to nothing: {report:?}"
    );
    assert!(report.ratio <= RATIO, "{report:?}");
}
