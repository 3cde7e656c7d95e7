//! Exports by the command: years as one file, resumed and poured into another tenant; the objects,
//! read by DuckDB with the statements of docs/export.md.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::api::{Api, Tenant};
use crate::command::data::Data;
use crate::command::parquet::python;
use crate::process::{Done, Place, Up};

const PAGE: &str = include_str!("../../../../../docs/export.md");

#[test]
fn years_come_out_and_go_in_again() {
    let place = Place::new();
    let data = Data::find(place.path());
    let up = Up::start(&place, 0);
    let api = Api::new(&up.env);
    let file = data.gzip.to_str().unwrap();
    let ingest = ["ingest", "--platform", "--create-tenants", file];
    assert_eq!(up.run(&ingest).json()["created"], data.invoices);
    up.run(&["tier", "run", "--as-of", "2026-11-20"]).json();
    let tenants = api.tenants();
    let count = |tenant: &Tenant| api.list(&tenant.key, "/v1/invoices").len();
    let (largest, invoices) = tenants
        .iter()
        .map(|t| (t, count(t)))
        .max_by_key(|(_, n)| *n)
        .unwrap();
    recall(&api, largest);

    let copy = api.make_tenants(1).remove(0);
    let sent = whole(&place, &up, largest, invoices);
    resumed(&place, &up, largest, &sent);
    into_another(&place, &up, (largest, &copy), &sent);
    objects(&place, &up, &api, largest);
}

fn recall(api: &Api, tenant: &Tenant) {
    let cold = api
        .get(&tenant.key, "/v1/invoices?tier=cold&limit=1")
        .json();
    let id = cold["data"][0]["id"].as_str().unwrap();
    let recalled = api.post(
        &tenant.key,
        &format!("/v1/invoices/{id}/recall"),
        &json!({}),
    );
    assert_eq!(recalled.status, 200, "{}", recalled.json());
}

fn run(up: &Up, tenant: &Tenant, arguments: &[&str]) -> Done {
    Done::of(up.command(arguments).env("SHEAF_API_KEY", &tenant.key))
}

/// To a file, to stdout, and in parts by the years.
fn whole(place: &Place, up: &Up, tenant: &Tenant, invoices: usize) -> String {
    let out = place.path().join("all.ndjson");
    let path = out.to_str().unwrap();
    let done = run(up, tenant, &["archive", "export", "--out", path]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let sent = fs::read_to_string(&out).unwrap();
    assert_eq!(sent.lines().count(), invoices);
    run(up, tenant, &["archive", "export", "--out", path])
        .assert_sentence(&["is there already", "--resume"]);
    let piped = run(up, tenant, &["archive", "export"]);
    assert!(piped.stdout == sent);
    let hot = run(up, tenant, &["archive", "export", "--tier", "hot"]);
    let cold = run(up, tenant, &["archive", "export", "--tier", "cold"]);
    let both = hot.stdout.lines().count() + cold.stdout.lines().count();
    assert!(hot.stdout.contains('\n') && cold.stdout.contains('\n'));
    assert_eq!(both, invoices);
    for wrong in [
        &["--resume"][..],
        &["--download", "/tmp/nothing"],
        &["--format", "parquet", "--tier", "hot"],
    ] {
        let arguments = [&["archive", "export"], wrong].concat();
        assert_eq!(run(up, tenant, &arguments).code, Some(1), "{wrong:?}");
    }
    run(
        up,
        tenant,
        &["archive", "export", "--from", "2024", "--to", "2023"],
    )
    .assert_sentence(&["invalid_parameter"]);
    sent
}

/// Cut anywhere, it becomes the same file again.
fn resumed(place: &Place, up: &Up, tenant: &Tenant, sent: &str) {
    for format in ["ndjson", "csv"] {
        let whole = match format {
            "csv" => run(up, tenant, &["archive", "export", "--format", "csv"]).stdout,
            _ => sent.to_owned(),
        };
        let out = place.path().join(format!("cut.{format}"));
        for cut in [
            0,
            1,
            whole.len() / 3,
            whole.len() / 2,
            whole.len() - 1,
            whole.len(),
        ] {
            let cut = (0..=cut)
                .rev()
                .find(|at| whole.is_char_boundary(*at))
                .unwrap();
            fs::write(&out, &whole[..cut]).unwrap();
            let path = out.to_str().unwrap();
            let arguments = [
                "archive", "export", "--format", format, "--out", path, "--resume",
            ];
            let done = run(up, tenant, &arguments);
            assert_eq!(done.code, Some(0), "{format} {cut}: {done:?}");
            assert!(fs::read_to_string(&out).unwrap() == whole, "{format} {cut}");
        }
        fs::write(&out, "something else\n").unwrap();
        let path = out.to_str().unwrap();
        let arguments = [
            "archive", "export", "--format", format, "--out", path, "--resume",
        ];
        run(up, tenant, &arguments).assert_sentence(&["is no export of this format"]);
    }
}

fn into_another(place: &Place, up: &Up, (from, to): (&Tenant, &Tenant), sent: &str) {
    let file = place.path().join("all.ndjson");
    let file = file.to_str().unwrap();
    let again = run(up, from, &["ingest", file]).json();
    assert_eq!(again["duplicates"], again["received"], "{again}");
    assert_eq!(
        run(up, to, &["ingest", file]).code,
        Some(1),
        "another tenant's"
    );
    let made = run(up, to, &["ingest", file, "--restore"]).json();
    assert_eq!(
        (&made["created"], &made["rejected"]),
        (&made["received"], &json!(0)),
        "{made}"
    );
    let told = run(up, to, &["archive", "export"]).stdout;
    let documents = |text: &str| -> Vec<Value> {
        let mut documents: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for document in &mut documents {
            document["tenant_id"] = Value::Null;
            document["customer_id"] = Value::Null;
        }
        documents
    };
    assert!(documents(&told) == documents(sent));
    println!(
        "{} invoices came out and went in again",
        told.lines().count()
    );
}

/// The objects in a directory, and what the page's statements make of them.
fn objects(place: &Place, up: &Up, api: &Api, tenant: &Tenant) {
    let dir = place.path().join("objects");
    let arguments = [
        "archive",
        "export",
        "--format",
        "parquet",
        "--download",
        dir.to_str().unwrap(),
    ];
    let done = run(up, tenant, &arguments);
    assert_eq!(done.code, Some(0), "{done:?}");
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let first = dir.join(files[0]["object_key"].as_str().unwrap());
    let right = fs::read(&first).unwrap();
    assert!(
        files.iter().all(|file| file["url"].is_null()),
        "no URL is kept"
    );
    assert_eq!(
        files
            .iter()
            .map(|file| file["masked"].as_array().unwrap().len())
            .sum::<usize>(),
        1
    );
    // What is damaged or missing is fetched again.
    OpenOptions::new()
        .append(true)
        .open(&first)
        .unwrap()
        .write_all(b"x")
        .unwrap();
    let last = dir.join(files.last().unwrap()["object_key"].as_str().unwrap());
    fs::remove_file(&last).unwrap();
    assert_eq!(run(up, tenant, &arguments).code, Some(0));
    assert!(fs::read(&first).unwrap() == right && last.is_file());

    let cold: Vec<Value> = api
        .list(&tenant.key, "/v1/invoices")
        .into_iter()
        .filter(|invoice| {
            let path = format!("/v1/invoices/{}", invoice["id"].as_str().unwrap());
            api.get(&tenant.key, &path).tier.as_deref() == Some("cold")
        })
        .collect();
    let total: Decimal = cold
        .iter()
        .map(|invoice| {
            invoice["total"]
                .as_str()
                .unwrap()
                .parse::<Decimal>()
                .unwrap()
        })
        .sum();
    let Some(found) = by_duckdb(&dir) else {
        println!("SKIPPED: no Python with duckdb, and none could be installed");
        return;
    };
    let sum: Decimal = found["total"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        (&found["rows"], sum),
        (&json!(cold.len()), total),
        "{found}"
    );
    println!("DuckDB: {found}");
}

fn by_duckdb(dir: &Path) -> Option<Value> {
    let script = r#"
import duckdb, json, sys
duckdb.execute(sys.argv[1])
rows, total = duckdb.sql("select count(*), sum(total) from invoices").fetchall()[0]
print(json.dumps({"rows": rows, "total": str(total)}))
"#;
    let statements = PAGE.split("```sql").nth(1)?.split("```").next()?;
    let output = Command::new(python("duckdb", "duckdb")?)
        .args(["-c", script, statements])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
