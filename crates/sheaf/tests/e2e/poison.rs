//! Hostile tenants beside quiet ones, on a server of their own: extremes of every field, and everything at once.

use sheaf_loadtest::http::Server;
use sheaf_loadtest::neighbours::{self, neighbours};
use sheaf_loadtest::poison::{Settings, poison};
use sheaf_local::CitusMode;
use std::time::Duration;

use crate::cluster::{ADMIN_KEY, Rig};

/// Two cores carry the servers, the quiet and the hostile: what is measured is fairness, not speed.
const RATIO: f64 = 3.0;

#[test]
fn no_field_at_its_extremes_hurts_anyone() {
    let mut rig = Rig::start_with(CitusMode::Off, 0, "2");
    let _serving = rig.serve();
    let settings = Settings {
        server: Server::parse(&rig.env["SHEAF_URL"]).unwrap(),
        admin_key: ADMIN_KEY.to_owned(),
        only: None,
    };
    let report = rig.runtime.block_on(poison(settings)).unwrap();
    eprintln!("{} cases of {} fields", report.cases, report.fields);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    // A document that lost its fields would find nothing.
    assert!(report.cases > 3_000 && report.fields > 200, "{report:?}");
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
