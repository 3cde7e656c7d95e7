#![allow(clippy::unwrap_used)]

use super::*;

fn install(major: u32, citus: bool) -> Install {
    let bindir = PathBuf::from(format!("/pg/{major}/bin"));
    Install {
        bindir,
        major,
        citus,
        stat_statements: true,
    }
}

fn options(citus: CitusMode, workers: Option<usize>) -> Options {
    Options {
        citus,
        workers,
        ..Options::default()
    }
}

#[test]
fn a_missing_extension_is_said_or_refused() {
    let installs = [install(17, false)];
    let (state, chosen) = fresh(&options(CitusMode::Auto, Some(3)), &installs).unwrap();
    assert!(!state.citus);
    let described = describe(&state, &chosen);
    assert!(described.contains("the Citus extension is not installed"));
    assert!(described.contains("https://docs.citusdata.com/en/stable/installation/"));
    let many = fresh(&options(CitusMode::Auto, Some(17)), &installs);
    assert!(matches!(many, Err(LocalError::TooManyWorkers { .. })));
    let refused = fresh(&options(CitusMode::Require, None), &installs);
    assert!(matches!(refused, Err(LocalError::CitusMissing { .. })));
}

#[test]
fn the_installation_with_the_extension_is_preferred() {
    let installs = [install(17, false), install(16, true)];
    let (state, chosen) = fresh(&options(CitusMode::Auto, None), &installs).unwrap();
    assert_eq!(
        (chosen.major, state.citus, state.nodes.len()),
        (16, true, 3)
    );
    let (state, chosen) = fresh(&options(CitusMode::Auto, Some(0)), &installs).unwrap();
    assert_eq!(
        (chosen.major, state.citus, state.nodes.len()),
        (17, false, 1)
    );
}

#[test]
fn a_data_directory_keeps_its_version_and_topology() {
    let options = options(CitusMode::Auto, None);
    let (state, _) = fresh(&options, &[install(16, true)]).unwrap();
    let dir = Path::new("/data");
    let both = [install(17, true), install(16, true)];
    assert_eq!(
        known(&options, dir, state.clone(), &both).unwrap().1.major,
        16
    );
    let newer = known(&options, dir, state.clone(), &[install(17, true)]);
    assert!(matches!(
        newer,
        Err(LocalError::PostgresVersion { made_by: 16, .. })
    ));
    let without = known(&options, dir, state.clone(), &[install(16, false)]);
    assert!(matches!(without, Err(LocalError::CitusMissing { .. })));
    let plain = Options {
        citus: CitusMode::Off,
        ..options
    };
    assert!(matches!(
        known(&plain, dir, state, &both),
        Err(LocalError::Topology { .. })
    ));
}
