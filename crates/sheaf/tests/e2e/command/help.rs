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
    unknown_tenants(&up);
    formats(&up);
    file_of_settings(&place, &up);
    plain_sentences(&up);
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

/// An upload with a key, twice, with the byte order mark that some editors write; and keys that are
/// too old.
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

/// A tenant that is not there is no success, whatever there was to do.
fn unknown_tenants(up: &Up) {
    let tenant = "0199f2a0-0000-7000-8000-000000000000";
    for command in [
        &["tier", "run"][..],
        &["archive", "ls"],
        &["archive", "verify"],
        &["archive", "compact"],
        &["archive", "erase"],
        &["archive", "gc"],
        &["numbers"],
    ] {
        let done = up.run(&[command, &["--tenant", tenant]].concat());
        done.assert_sentence(&[&format!("there is no tenant {tenant}")]);
        assert_eq!(done.stdout, "", "{done:?}");
        let known = up.run(&[command, &["--tenant", &up.env["SHEAF_TENANT_ID"]]].concat());
        assert_eq!(known.code, Some(0), "{known:?}");
    }
}

/// What prints JSON prints a table when it is asked to, and the other way round.
fn formats(up: &Up) {
    let of = |arguments: &[&str], format: &str| {
        let done = up.run(&[arguments, &["--output", format]].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout
    };
    let table = of(&["tenant", "create", "--name", "Table"], "table");
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert_eq!(
        names,
        ["api_key", "external_id", "name", "tenant_id"],
        "{table}"
    );
    assert!(table.contains("name         Table\n"), "{table}");
    let migrated = of(&["migrate"], "table");
    assert!(
        migrated.starts_with("applied\ncitus           no\nschema_version  "),
        "{migrated}"
    );
    for command in [
        &["tier", "run", "--dry-run"][..],
        &["archive", "verify"],
        &["archive", "compact", "--dry-run"],
        &["archive", "erase"],
        &["archive", "gc", "--dry-run"],
        &["numbers"],
    ] {
        let (json, table) = (of(command, "json"), of(command, "table"));
        let json: Value = serde_json::from_str(&json).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines.contains(&table_line(&json, &table, "failed").as_str()),
            "{table}"
        );
        assert_eq!(json["failed"], 0, "{json}");
    }
    assert!(of(&["archive", "ls"], "table").starts_with("tenant "));
    assert!(of(&["cluster", "status"], "table").contains("one plain node"));
    let status: Value = serde_json::from_str(&of(&["cluster", "status"], "json")).unwrap();
    assert_eq!(status["citus"], Value::Null);
}

/// The line of a value, as wide as the table's names are.
fn table_line(json: &Value, table: &str, name: &str) -> String {
    let width = table
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map_or(0, |rest| rest.len() - rest.trim_start().len());
    assert!(width >= 2, "{name}: {table}");
    format!("{name}{}{}", " ".repeat(width), json[name])
}

/// The file is below the environment, which is below flags.
fn file_of_settings(place: &Place, up: &Up) {
    let path = place.path().join("sheaf.toml");
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let content = |bucket: &str| {
        let setting = |name: &str| {
            let value = &up.env[&format!("SHEAF_{}", name.to_uppercase())];
            format!("{name} = {value:?}\n")
        };
        let settings = ["database_url", "s3_endpoint", "s3_region"].map(setting);
        format!("{}s3_bucket = {bucket:?}\n", settings.concat())
    };
    let bucket = up.env["SHEAF_S3_BUCKET"].as_str();
    let ls = |change: &dyn Fn(&mut Command)| {
        let mut ls = sheaf();
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            ls.env(name, &up.env[name]);
        }
        ls.args(["archive", "ls"]).env("SHEAF_CONFIG", &path);
        change(&mut ls);
        Done::of(&mut ls)
    };
    fs::write(&path, content(bucket)).unwrap();
    mode(0o600);
    let done = ls(&|_| {});
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    mode(0o644);
    let done = ls(&|ls| {
        ls.env_remove("SHEAF_CONFIG").arg("--config").arg(&path);
    });
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stderr.contains("holds secrets (database_url)"),
        "{done:?}"
    );

    fs::write(&path, content("nowhere")).unwrap();
    mode(0o600);
    ls(&|_| {}).assert_sentence(&["bucket nowhere"]);
    let done = ls(&|ls| {
        ls.env("SHEAF_S3_BUCKET", bucket);
    });
    assert_eq!(
        done.code,
        Some(0),
        "the environment is above the file: {done:?}"
    );
    let done = ls(&|ls| {
        ls.env("SHEAF_S3_BUCKET", "elsewhere")
            .args(["--s3-bucket", bucket]);
    });
    assert_eq!(
        done.code,
        Some(0),
        "a flag is above the environment: {done:?}"
    );

    fs::write(&path, "s3_buckt = \"b\"").unwrap();
    let done = ls(&|_| {});
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr.contains("\"s3_buckt\"; s3_bucket is one"),
        "{done:?}"
    );
}

/// What goes wrong is told in words, not in a program's own.
fn plain_sentences(up: &Up) {
    let mut ls = up.command(&["archive", "ls"]);
    let unreachable = Done::of(ls.env("SHEAF_S3_ENDPOINT", "http://127.0.0.1:9"));
    unreachable.assert_sentence(&["the storage cannot be reached: ", "onnection refused"]);
    assert!(
        !unreachable.stderr.contains("DispatchFailure"),
        "{unreachable:?}"
    );
    let id = up.run(&["archive", "ls", "--tenant", "abc"]);
    assert_eq!(id.code, Some(2));
    assert!(
        id.stderr
            .contains("'abc' for '--tenant <ID>': a tenant's id is a UUID, such as"),
        "{id:?}"
    );
    let day = up.run(&["tier", "run", "--as-of", "soon"]);
    assert!(
        day.stderr
            .contains("must be a calendar date as YYYY-MM-DD\n"),
        "{day:?}"
    );
    let name = up.run(&["tenant", "create", "--name", ""]);
    assert_eq!(
        (name.code, name.stderr.matches("name: ").count()),
        (Some(1), 1),
        "{name:?}"
    );
    // Colours are for terminals, and this is none; nor are they where they are refused.
    assert!(!id.stderr.contains('\u{1b}'), "{id:?}");
    let script = Done::of(sheaf().args(["completions", "fish"]));
    assert!(script.stdout.contains("complete -c sheaf"), "{script:?}");
    let page = Done::of(sheaf().arg("man"));
    assert!(page.stdout.contains("sheaf\\-doctor"), "{page:?}");
}

/// `serve` refuses a database without the schema, `migrate` brings it, `serve` serves it and drains
/// at SIGTERM.
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
