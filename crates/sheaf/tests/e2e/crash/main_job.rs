//! The main job: from a file through HTTP to PostgreSQL, to Parquet, and back.

use serde_json::Value;

use crate::api::{Api, Tenant, sums};
use crate::command::data::Data;
use crate::command::parquet;
use crate::process::{Place, Up};

const TIER: [&str; 4] = ["tier", "run", "--as-of", "2026-11-20"];

#[test]
fn ingested_tiered_and_read_back() {
    main_job(0);
}

#[test]
fn citus_ingested_tiered_and_read_back() {
    main_job(2);
}

fn main_job(workers: usize) {
    let place = Place::new();
    let data = Data::find(place.path());
    let up = Up::start(&place, workers);
    let api = Api::new(&up.env);

    let first = ingest(&up, &data);
    assert_eq!(first["created"], data.invoices, "{first}");
    assert_eq!(
        (&first["duplicates"], &first["rejected"]),
        (&0.into(), &0.into()),
        "{first}"
    );
    assert_all_duplicates(&ingest(&up, &data), &data);

    let tenants = api.tenants();
    assert_eq!(tenants.len(), data.tenants);
    assert_sums(&api, &tenants, &data);
    let before = api.bodies(&tenants);
    assert!(
        before
            .values()
            .all(|answer| answer.tier.as_deref() == Some("hot"))
    );

    let dry = up.run(&[&TIER[..], &["--dry-run"]].concat()).json();
    assert_eq!(
        (&dry["invoices"], &dry["dry_run"]),
        (&data.settled.into(), &true.into()),
        "{dry}"
    );
    let run = up.run(&TIER).json();
    assert_eq!(run["invoices"], data.settled, "{run}");
    assert_eq!(
        run["skipped_unsettled"],
        data.invoices - data.settled,
        "{run}"
    );

    let after = api.bodies(&tenants);
    assert!(before.keys().eq(after.keys()), "other invoices than before");
    let mut cold = Vec::new();
    for (id, answer) in &after {
        assert!(
            answer.body == before[id].body,
            "the body of {id} has changed"
        );
        let document = answer.json();
        let settled = document["status"] == "paid";
        assert_eq!(
            answer.tier.as_deref(),
            Some(if settled { "cold" } else { "hot" }),
            "{document}"
        );
        cold.extend(settled.then_some(document));
    }
    assert_eq!(cold.len() as u64, data.settled);
    assert_sums(&api, &tenants, &data);

    let again = up.run(&TIER).json();
    assert_eq!(
        (&again["invoices"], &again["units"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    assert_all_duplicates(&ingest(&up, &data), &data);
    assert_sums(&api, &tenants, &data);

    let verified = up.run(&["archive", "verify"]).json();
    assert_eq!(
        (&verified["invoices"], &verified["unpublished"]),
        (&data.settled.into(), &0.into())
    );
    assert_listing(&up, &data);
    parquet::assert_readable(&place.data().join("s3"), &cold);
}

fn assert_listing(up: &Up, data: &Data) {
    let listed = up.run(&["archive", "ls"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let files: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let invoices: u64 = files
        .iter()
        .map(|file| file["invoices"].as_u64().unwrap())
        .sum();
    assert_eq!(invoices, data.settled);
}

fn ingest(up: &Up, data: &Data) -> Value {
    let file = data.gzip.to_str().unwrap();
    up.run(&["ingest", "--platform", "--create-tenants", file])
        .json()
}

fn assert_all_duplicates(summary: &Value, data: &Data) {
    assert_eq!(summary["duplicates"], data.invoices, "{summary}");
    assert_eq!(
        (&summary["created"], &summary["rejected"]),
        (&0.into(), &0.into()),
        "{summary}"
    );
}

/// Sums through the API, to the penny.
pub fn assert_sums(api: &Api, tenants: &[Tenant], data: &Data) {
    let invoices = api.invoices(tenants);
    assert_eq!(invoices.len() as u64, data.invoices);
    assert_eq!(sums(&invoices), data.sums);
}
