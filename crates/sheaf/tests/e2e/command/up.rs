//! `sheaf up`: what it writes, how it ends, and how it starts again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::api::Api;
use crate::process::{Done, Place, Up, env_lines, send, sheaf, up_command, wait_for};

const NAMES: [&str; 12] = [
    "SHEAF_URL",
    "SHEAF_ADMIN_KEY",
    "SHEAF_TENANT_ID",
    "SHEAF_API_KEY",
    "SHEAF_DATABASE_URL",
    "SHEAF_S3_ENDPOINT",
    "SHEAF_S3_BUCKET",
    "SHEAF_S3_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "SHEAF_METRICS_URL",
    "SHEAF_UP_PID",
];

#[test]
fn starts_ends_and_starts_again() {
    life(0);
}

#[test]
fn citus_starts_ends_and_starts_again() {
    life(2);
}

fn life(workers: usize) {
    let place = Place::new();
    let mut up = Up::start(&place, workers);
    assert_env_file(&up);
    assert_private(&place, &up);
    let (path, keys) = (create(&up), keys(&up));
    second_starts_are_refused(&place, &up);

    // Ctrl-C leaves no process and no env file.
    assert_eq!(
        up.running.end(Signal::INT).code(),
        Some(0),
        "{}",
        up.running.stderr()
    );
    assert_nothing_left(&place);

    // A second start finds all data, by the same keys.
    let mut up = Up::start(&place, workers);
    assert_eq!(self::keys(&up), keys);
    assert_found(&up, &path);

    // So does a start after a kill, whose env file must not outlive it.
    up.running.kill();
    assert!(up.env_file().exists());
    let mut up = Up::start(&place, workers);
    assert_eq!(self::keys(&up), keys);
    assert_found(&up, &path);

    // SIGTERM is as good as Ctrl-C.
    assert_eq!(
        up.running.end(Signal::TERM).code(),
        Some(0),
        "{}",
        up.running.stderr()
    );
    assert_nothing_left(&place);
}

fn assert_env_file(up: &Up) {
    let file = up.env_file();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = env_lines(&file).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, NAMES);
    assert!(
        up.running
            .stdout()
            .starts_with(&fs::read_to_string(&file).unwrap())
    );
    assert!(
        up.running.stderr().contains("PostgreSQL"),
        "the topology is said"
    );
    // As a shell reads it.
    let script = format!(". '{}' && printf %s \"$SHEAF_API_KEY\"", file.display());
    let shell = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8(shell.stdout).unwrap(),
        up.env["SHEAF_API_KEY"]
    );
    let api = Api::new(&up.env);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(api.get("", path).status, 200);
    }
    // Metrics are on a port of their own.
    assert_eq!(api.get("", "/metrics").status, 404);
    let mut elsewhere = up.env.clone();
    let metrics = up.env["SHEAF_METRICS_URL"]
        .strip_suffix("/metrics")
        .unwrap();
    elsewhere.insert("SHEAF_URL".to_owned(), metrics.to_owned());
    let metrics = Api::new(&elsewhere).get("", "/metrics");
    assert_eq!(metrics.status, 200);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains("sheaf_http_requests_total"), "{text}");
}

/// What is in the data directory is its user's alone, and PostgreSQL's account's under root: logs
/// and archived objects too.
fn assert_private(place: &Place, up: &Up) {
    let line = json!({"description": "Mug", "quantity": "1", "unit_price": "2.50"});
    let paid =
        json!([{"reference": "p", "amount": "2.50", "paid_on": "2020-01-03", "method": "card"}]);
    let body = json!({"currency": "GBP", "customer": {"external_id": "c", "name": "Ann"},
        "lines": [line],
        "issue_date": "2020-01-02", "payments": paid});
    let answer = Api::new(&up.env).post(&up.env["SHEAF_API_KEY"], "/v1/invoices", &body);
    assert_eq!(answer.status, 201, "{}", answer.json());
    let tiered = up.run(&["tier", "run"]).json();
    assert_eq!(tiered["invoices"], 1, "{tiered}");
    let mut left = vec![place.data()];
    let (mut logs, mut objects) = (0, 0);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            // PostgreSQL makes and removes files while we look.
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let mode = meta.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
            logs += usize::from(path.extension().is_some_and(|e| e == "log"));
            objects += usize::from(path.extension().is_some_and(|e| e == "parquet"));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    assert!(logs > 0 && objects > 0, "{logs} logs, {objects} objects");
    let mode = fs::metadata(place.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o066, 0, "nobody else sees what is in it: {mode:o}");
}

/// An invoice of the demo tenant.
fn create(up: &Up) -> String {
    let line = json!({"description": "Mug", "quantity": "1", "unit_price": "2.50"});
    let body = json!({"currency": "GBP", "customer": {"external_id": "c", "name": "Ann"},
        "lines": [line]});
    let answer = Api::new(&up.env).post(&up.env["SHEAF_API_KEY"], "/v1/invoices", &body);
    assert_eq!(answer.status, 201, "{}", answer.json());
    let document = answer.json();
    assert_eq!(document["tenant_id"], up.env["SHEAF_TENANT_ID"].as_str());
    format!("/v1/invoices/{}", document["id"].as_str().unwrap())
}

fn assert_found(up: &Up, path: &str) {
    let answer = Api::new(&up.env).get(&up.env["SHEAF_API_KEY"], path);
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["total"], "2.50");
}

/// All but the URL stays the same over starts (the tests leave the port open).
fn keys(up: &Up) -> Vec<(String, String)> {
    let mut keys = env_lines(&up.env_file()).split_off(1);
    keys.retain(|(name, _)| name != "SHEAF_UP_PID");
    keys
}

fn second_starts_are_refused(place: &Place, up: &Up) {
    let held = Done::of(&mut up_command(place, &[]));
    held.assert_sentence(&["in use by another running sheaf"]);
    assert!(
        up.env_file().exists(),
        "the running server keeps its env file"
    );

    let port = up.env["SHEAF_URL"].rsplit(':').next().unwrap();
    let other = Place::new();
    let taken = Done::of(
        sheaf()
            .args(["up", "--port", port, "--data-dir"])
            .arg(other.data()),
    );
    taken.assert_sentence(&[port, "taken"]);
    assert_nothing_left(&other);
}

fn assert_nothing_left(place: &Place) {
    assert!(place.processes().is_empty(), "processes are left");
    assert!(!place.data().join("env").exists(), "the env file is left");
}

#[test]
fn a_foreign_directory_is_not_touched() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("env"), "mine").unwrap();
    for arguments in [&[][..], &["--reset"]] {
        let refused = Done::of(&mut up_command(&place, arguments));
        refused.assert_sentence(&["was not made by sheaf"]);
    }
    assert_eq!(
        fs::read_to_string(place.data().join("env")).unwrap(),
        "mine"
    );
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1);
}

#[test]
fn what_breaks_is_said_and_ends_everything() {
    let place = Place::new();
    // PostgreSQL dies.
    let mut up = Up::start(&place, 0);
    send(place.postmaster(), Signal::QUIT);
    assert_eq!(up.running.ended().code(), Some(1));
    let said = up.running.stderr();
    assert!(said.contains("sheaf: PostgreSQL node"), "{said}");
    assert_nothing_left(&place);

    // The lock is lost.
    let mut up = Up::start(&place, 0);
    fs::remove_file(place.data().join("lock")).unwrap();
    assert_eq!(up.running.ended().code(), Some(1));
    let said = up.running.stderr();
    assert!(said.contains("was removed or replaced"), "{said}");
    assert!(place.processes().is_empty());

    // Another topology than the directory's, then all over again.
    let other = Done::of(&mut up_command(&place, &["--workers", "1"]));
    other.assert_sentence(&["one plain node", "--reset"]);
    let demo = fs::read_to_string(place.data().join("demo.json")).unwrap();
    let mut again = up_command(&place, &["--workers", "0", "--reset"]);
    let mut again = crate::process::Running::start(&mut again, &place, "reset");
    wait_for("a fresh start", || {
        again.stdout().contains("is ready").then_some(())
    });
    assert_ne!(
        fs::read_to_string(place.data().join("demo.json")).unwrap(),
        demo
    );
    assert_eq!(again.end(Signal::INT).code(), Some(0));
}
