//! The commands beside `up`, one by one, in one environment.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::api::Api;
use crate::process::{Done, Place, Running, Up, sheaf, wait_for};

#[test]
fn commands() {
    let place = Place::new();
    let up = Up::start(&place, 0);
    ingest(&place, &up);
    ingest_with_key(&place, &up);
    ingest_refused(&place, &up);
    tenants(&up);
    usage();
    migrate_and_serve(&place, &up);
}

fn line(external_id: &str, quantity: &str) -> String {
    let invoice = json!({"external_id": external_id, "currency": "EUR", "issue_date": "2026-01-02",
        "customer": {"external_id": "c", "name": "Ann"},
        "lines": [{"description": "Mug", "quantity": quantity, "unit_price": "2.50"}]});
    format!("{invoice}\n")
}

/// One tenant's upload: the good lines land, the bad one is named, the exit code says so.
fn ingest(place: &Place, up: &Up) {
    let file = place.path().join("some.ndjson");
    fs::write(
        &file,
        [line("a", "1"), line("b", "-1"), line("c", "2")].concat(),
    )
    .unwrap();
    let file = file.to_str().unwrap();

    let atomic = up.run(&["ingest", file, "--atomic"]);
    assert_eq!(
        (atomic.code, atomic.stdout.as_str()),
        (Some(1), ""),
        "{atomic:?}"
    );
    assert!(
        atomic.stderr.contains("line 2: ") && atomic.stderr.contains("(bulk_rejected, request "),
        "{atomic:?}"
    );
    let api = Api::new(&up.env);
    assert!(
        api.list(&up.env["SHEAF_API_KEY"], "/v1/invoices")
            .is_empty(),
        "atomic is all or nothing"
    );

    let some = up.run(&["ingest", file]);
    assert_eq!(some.code, Some(1), "{some:?}");
    let summary: Value = serde_json::from_str(&some.stdout).unwrap();
    assert_eq!(
        (&summary["created"], &summary["rejected"]),
        (&2.into(), &1.into()),
        "{summary}"
    );
    assert_eq!(summary["errors"][0]["line"], 2, "{summary}");
    assert!(
        some.stderr.contains("sheaf: 1 of 3 lines were rejected"),
        "{some:?}"
    );
    assert_eq!(api.list(&up.env["SHEAF_API_KEY"], "/v1/invoices").len(), 2);

    // By stdin as well.
    let mut piped = up.command(&["ingest", "-"]);
    let output = piped.stdin(fs::File::open(file).unwrap()).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&summary["duplicates"], &summary["created"]),
        (&2.into(), &0.into()),
        "{summary}"
    );
}

/// An upload with a key, twice, with the byte order mark that some editors write; and keys that are too old.
fn ingest_with_key(place: &Place, up: &Up) {
    let file = place.path().join("marked.ndjson");
    let unnamed = line("", "3").replace("\"external_id\":\"\",", "");
    fs::write(&file, format!("\u{feff}{unnamed}{unnamed}")).unwrap();
    let file = file.to_str().unwrap();
    let api = Api::new(&up.env);
    let before = api.list(&up.env["SHEAF_API_KEY"], "/v1/invoices").len();
    for _ in 0..2 {
        let summary = up
            .run(&["ingest", file, "--idempotency-key", "file-1"])
            .json();
        assert_eq!(summary["created"], 2, "{summary}");
    }
    let after = api.list(&up.env["SHEAF_API_KEY"], "/v1/invoices").len();
    assert_eq!(after, before + 2);

    // The platform's own keys go with a run over all tenants, when they are a week old.
    let made = [
        "ingest",
        file,
        "--platform",
        "--idempotency-key",
        "platform-1",
    ];
    let rejected = up.run(&made);
    assert!(rejected.stdout.contains("\"rejected\":2"), "{rejected:?}");
    sql(
        up,
        "update idempotency_keys set created_at = created_at - interval '8 days'",
    );
    let swept = up.run(&["tier", "run"]).json();
    assert_eq!(swept["idempotency_keys_swept"], 2, "{swept}");
    let left = sql(up, "select 1 from idempotency_keys");
    assert_eq!(left, 0);
}

/// Runs a statement; how many rows it returned or changed.
fn sql(up: &Up, statement: &str) -> u64 {
    let run = async {
        let url = &up.env["SHEAF_DATABASE_URL"];
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.execute(statement, &[]).await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(run)
}

fn ingest_refused(place: &Place, up: &Up) {
    up.run(&["ingest", "/nowhere/at.all"])
        .assert_sentence(&["/nowhere/at.all", "No such file"]);
    up.run(&["ingest", "/tmp"]).assert_sentence(&["/tmp"]);
    let file = place.path().join("some.ndjson");
    let file = file.to_str().unwrap();
    let with = |name: &str, value: &str| Done::of(up.command(&["ingest", file]).env(name, value));
    with("SHEAF_API_KEY", "wrong").assert_sentence(&["the upload was refused", "request "]);
    with("SHEAF_API_KEY", "").assert_sentence(&["SHEAF_API_KEY is not set"]);
    with("SHEAF_URL", "http://127.0.0.1:9")
        .assert_sentence(&["cannot reach the API at http://127.0.0.1:9"]);
    with("SHEAF_URL", "ftp://127.0.0.1").assert_sentence(&["SHEAF_URL"]);
    // Broken gzip is told by the server.
    let broken = place.path().join("broken.ndjson.gz");
    fs::write(&broken, b"\x1f\x8b\x08\x00broken").unwrap();
    up.run(&["ingest", broken.to_str().unwrap()])
        .assert_sentence(&["the upload was refused"]);
}

fn tenants(up: &Up) {
    let create = [
        "tenant",
        "create",
        "--name",
        "Acme",
        "--external-id",
        "acme",
    ];
    let made = up.run(&create).json();
    assert_eq!(
        (&made["name"], &made["external_id"]),
        (&"Acme".into(), &"acme".into()),
        "{made}"
    );
    let answer = Api::new(&up.env).get(made["api_key"].as_str().unwrap(), "/v1/invoices");
    assert_eq!(answer.status, 200, "{}", answer.json());
    up.run(&create).assert_sentence(&["duplicate_external_id"]);
    let mut wrong = up.command(&create);
    Done::of(wrong.env("SHEAF_ADMIN_KEY", "wrong")).assert_sentence(&["request "]);
    Done::of(wrong.env_remove("SHEAF_ADMIN_KEY")).assert_sentence(&["SHEAF_ADMIN_KEY is not set"]);
}

fn usage() {
    for arguments in [
        &["frobnicate"][..],
        &["ingest"],
        &["ingest", "-", "--create-tenants"],
        &["tier", "run", "--older-than", "12"],
    ] {
        let done = Done::of(sheaf().args(arguments));
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{done:?}");
    }
    let serve = |key: &str, spool: &str| {
        let mut serve = sheaf();
        serve.args(["serve", "--database-url", "postgres://u@localhost:1/d"]);
        serve.args(["--s3-bucket", "b", "--admin-key", key, "--spool-dir", spool]);
        Done::of(&mut serve)
    };
    let spool = serve("an admin key that is long", "/there/is/none");
    spool.assert_sentence(&["SHEAF_SPOOL_DIR", "/there/is/none"]);
    // A secret is not repeated, however wrong it is.
    let short = serve("not-a-long-one", "/tmp");
    short.assert_sentence(&["SHEAF_ADMIN_KEY needs"]);
    assert!(!short.stderr.contains("not-a-long-one"), "{short:?}");
    let help = Done::of(sheaf().arg("--help"));
    assert_eq!(help.code, Some(0));
    for command in [
        "up", "serve", "migrate", "tenant", "ingest", "tier", "archive",
    ] {
        assert!(help.stdout.contains(&format!("\n  {command}")), "{help:?}");
    }
}

/// `serve` refuses a database without the schema, `migrate` brings it, `serve` serves it and drains at SIGTERM.
fn migrate_and_serve(place: &Place, up: &Up) {
    let url = &up.env["SHEAF_DATABASE_URL"];
    let (server, _) = url.rsplit_once('/').unwrap();
    let in_database = |command: &mut Command| {
        command.env("SHEAF_DATABASE_URL", format!("{server}/postgres"));
    };
    let serve = |listen: &str| {
        let arguments = [
            "serve",
            "--log-format",
            "json",
            "--tier-interval",
            "1h",
            "--listen",
            listen,
        ];
        let mut command = up.command(&arguments);
        in_database(&mut command);
        command
    };
    Done::of(&mut serve("127.0.0.1:0"))
        .assert_sentence(&["schema version 0", "run `sheaf migrate`"]);

    let mut migrate = up.command(&["migrate", "--shards", "4"]);
    in_database(&mut migrate);
    let migrated = Done::of(&mut migrate).json();
    assert!(
        !migrated["applied"].as_array().unwrap().is_empty(),
        "{migrated}"
    );
    assert_eq!(
        migrated["applied"].as_array().unwrap().last(),
        Some(&migrated["schema_version"]),
        "{migrated}"
    );
    assert_eq!(Done::of(&mut migrate).json()["applied"], json!([]));

    let mut serving = Running::start(&mut serve("127.0.0.1:0"), place, "serve");
    let address = wait_for("serve to listen", || {
        assert!(!serving.has_ended(), "{}", serving.stderr());
        let log = serving.stderr();
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .into_iter()
            .find_map(|event| event["address"].as_str().map(str::to_owned))
    });
    let mut env = up.env.clone();
    env.insert("SHEAF_URL".to_owned(), format!("http://{address}"));
    assert_eq!(Api::new(&env).get("", "/readyz").status, 200);
    let taken = Done::of(&mut serve(&address));
    taken.assert_sentence(&[&address, "taken"]);
    assert_eq!(
        serving.end(Signal::TERM).code(),
        Some(0),
        "{}",
        serving.stderr()
    );
}
