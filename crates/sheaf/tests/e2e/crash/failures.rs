//! Runs over all tenants, one of which is broken: the others are done, the broken one is told, the
//! exit code says so.

use std::fs;

use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::process::{Done, Place, Up};

#[test]
fn one_broken_tenant_stops_no_run() {
    let place = Place::new();
    let up = Up::start(&place, 0);
    let file = place.path().join("old.ndjson");
    let lines = [1, 2].map(|n| {
        let line = json!({"external_id": n.to_string(), "currency": "EUR",
            "issue_date": "2021-03-05",
            "lines": [{"description": "Mug", "quantity": 1, "unit_price": "2.50"}],
            "payments": [{"reference": "p", "amount": "2.50", "paid_on": "2021-03-06",
                "method": "card"}]});
        format!("{line}\n")
    });
    fs::write(&file, lines.concat()).unwrap();
    // Made one after the other, so the broken one is read first, in whatever order of ids.
    let tenants = ["broken", "one", "two"].map(|name| {
        let made = up.run(&["tenant", "create", "--name", name]).json();
        let mut ingest = up.command(&["ingest", file.to_str().unwrap()]);
        let key = made["api_key"].as_str().unwrap();
        let done = Done::of(ingest.env("SHEAF_API_KEY", key)).json();
        assert_eq!(done["created"], 2);
        made["tenant_id"].as_str().unwrap().to_owned()
    });
    let [broken, good, _] = &tenants;
    let failed = |done: &Done, told: u64| -> Value {
        assert_eq!(done.code, Some(1), "{done:?}");
        let summary: Value = serde_json::from_str(&done.stdout).unwrap();
        // A step that fails is one failure; a run may come to the same row in several steps.
        let failures = summary["failures"].as_array().unwrap().len() as u64;
        assert_eq!(summary["failed"], failures, "{done:?}");
        assert!(failures >= told, "{done:?}");
        for failure in summary["failures"].as_array().unwrap() {
            assert_eq!(&failure["tenant_id"], broken.as_str(), "{done:?}");
        }
        assert!(done.stderr.contains(broken.as_str()), "{done:?}");
        assert!(!done.stderr.contains(good.as_str()), "{done:?}");
        summary
    };

    // An amount of no currency that this binary knows.
    sql(
        &up,
        &format!("update invoices set currency = '??' where tenant_id = '{broken}'"),
    );
    let tier = failed(&up.run(&["tier", "run"]), 1);
    assert_eq!((&tier["invoices"], &tier["units"]), (&json!(4), &json!(2)));
    assert_eq!(tier["failures"][0]["what"], "2021-03");

    // A row of the catalog, and a receipt, that cannot be read; beside what there is to do for
    // another tenant.
    let row = |tenant: &str, period: &str, generation: u8, state: &str| {
        format!(
            "insert into archive_files (tenant_id, period, part, generation, year, object_key, \
            state, min_id, max_id,
                                        sha256, schema_version, staged_at)
             values ('{tenant}', '{period}', 9, {generation}, 2021, 'nowhere-{generation}', \
             '{state}', '{tenant}', \
             '{tenant}', decode(repeat('00', 32), 'hex'), 1, now())"
        )
    };
    let receipt = |tenant: &str, held: &str| {
        format!(
            "insert into erasures (tenant_id, customer_id, requested_at, requested_by, held)
             values ('{tenant}', '{tenant}', now() - interval '1 year', 'test', '{held}')"
        )
    };
    sql(&up, &row(broken, "2024-99", 99, "published"));
    // The last row of a year stays, so that no key is used again.
    sql(&up, &row(good, "2020-05", 98, "garbage"));
    sql(&up, &row(good, "2020-05", 99, "garbage"));
    sql(&up, &receipt(broken, "{\"not\": \"a list\"}"));
    sql(&up, &receipt(good, "[]"));
    let gc = failed(&up.run(&["archive", "gc", "--grace", "0s"]), 1);
    assert_eq!(gc["garbage"], 1);
    let compact = failed(&up.run(&["archive", "compact"]), 1);
    assert_eq!(compact["files"], 2);
    let verify = failed(&up.run(&["archive", "verify"]), 1);
    assert_eq!(
        (&verify["files"], &verify["orphans"]),
        (&json!(2), &json!(0))
    );
    let erase = failed(&up.run(&["archive", "erase"]), 1);
    assert_eq!(
        (&erase["erasures"], &erase["completed"]),
        (&json!(1), &json!(1))
    );

    let numbers = failed(&up.run(&["numbers"]), 1);
    assert_eq!(
        (&numbers["tenants"], &numbers["files"]),
        (&json!(4), &json!(2))
    );

    let ls = up.run(&["archive", "ls"]);
    assert_eq!((ls.code, ls.stdout.lines().count()), (Some(1), 2), "{ls:?}");
    assert!(ls.stderr.contains(broken.as_str()), "{ls:?}");
    // Whom it does not concern, it does not concern.
    let alone = up.run(&["archive", "verify", "--tenant", good]);
    assert_eq!(alone.json()["files"], 1);
}

fn sql(up: &Up, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&up.env["SHEAF_DATABASE_URL"], NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let changed = client.execute(statement, &[]).await.unwrap();
        assert!(changed > 0, "{statement}");
    });
}
