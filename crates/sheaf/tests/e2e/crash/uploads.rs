//! Uploads killed half way, and sent again.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use crate::api::Api;
use crate::command::data::Data;
use crate::crash::main_job::assert_sums;
use crate::process::{Place, Running, Up, wait_for};

#[test]
fn a_killed_client_sends_again() {
    let place = Place::new();
    let data = Data::find(place.path());
    let up = Up::start(&place, 0);
    let mut client = half_an_upload(&up, &place, &data);
    client.0.kill();
    finish(&up, &data);
}

#[test]
fn a_killed_server_is_sent_to_again() {
    killed_server(0);
}

#[test]
fn citus_a_killed_server_is_sent_to_again() {
    killed_server(2);
}

fn killed_server(workers: usize) {
    let place = Place::new();
    let data = Data::find(place.path());
    let mut up = Up::start(&place, workers);
    let (mut client, stdin) = half_an_upload(&up, &place, &data);
    up.running.kill();
    // Its source goes on, but there is nobody to send to.
    let mut stdin = stdin;
    let _ = stdin.write_all(&data.text.as_bytes()[data.text.len() / 10 * 9..]);
    drop(stdin);
    assert_eq!(client.ended().code(), Some(1));
    let said = client.stderr();
    assert!(
        said.starts_with("sheaf: ") && said.contains("sending it again is safe"),
        "{said}"
    );

    let up = Up::start(&place, workers);
    finish(&up, &data);
}

/// An upload of which some invoices are stored, and whose source has more to give.
fn half_an_upload(up: &Up, place: &Place, data: &Data) -> (Running, std::process::ChildStdin) {
    let mut command = up.command(&["ingest", "-", "--platform", "--create-tenants"]);
    let mut client = Running::start(command.stdin(Stdio::piped()), place, "client");
    let mut stdin = client.stdin();
    // Nine tenths, ending in mid-line.
    stdin
        .write_all(&data.text.as_bytes()[..data.text.len() / 10 * 9])
        .unwrap();
    stdin.flush().unwrap();
    let api = Api::new(&up.env);
    let stored = wait_for("the first invoices", || {
        assert!(!client.has_ended(), "{}", client.stderr());
        // Each look makes keys, of which a tenant has a limited number.
        std::thread::sleep(Duration::from_millis(250));
        Some(api.invoices(&api.tenants()).len() as u64).filter(|stored| *stored > 0)
    });
    assert!(stored < data.invoices, "nothing is left to send");
    (client, stdin)
}

fn finish(up: &Up, data: &Data) {
    let api = Api::new(&up.env);
    let mut stored = api.invoices(&api.tenants()).len() as u64;
    assert!(
        stored > 0 && stored < data.invoices,
        "{stored} were stored by the broken upload"
    );
    let file = data.gzip.to_str().unwrap();
    let summary = up
        .run(&["ingest", file, "--platform", "--create-tenants"])
        .json();
    // What the server still had in hand when it was counted may have landed since.
    assert!(
        summary["duplicates"].as_u64().unwrap() >= stored,
        "{summary}"
    );
    stored = summary["duplicates"].as_u64().unwrap();
    assert_eq!(summary["created"], data.invoices - stored, "{summary}");
    assert_eq!(summary["rejected"], 0, "{summary}");
    let tenants = api.tenants();
    assert_eq!(tenants.len(), data.tenants);
    assert_sums(&api, &tenants, data);
}
