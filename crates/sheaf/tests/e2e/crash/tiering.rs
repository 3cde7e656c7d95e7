//! Tiering and gc killed at every step of their protocols.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sheaf_archive::Step;

use crate::api::{Answer, Api, Tenant, sums};
use crate::process::{Done, Place, Running, Up, wait_for};

/// Invoices of a tenant, and how many of them move.
const INVOICES: usize = 7;
const SETTLED: usize = 5;

#[test]
fn every_step_can_be_the_last() {
    every_step(0);
}

#[test]
fn citus_every_step_can_be_the_last() {
    every_step(2);
}

fn every_step(workers: usize) {
    let place = Place::new();
    let up = Up::start(&place, workers);
    let api = Api::new(&up.env);
    for step in Step::ALL {
        let run = Run::new(&up, &api, &place, step);
        if step.is_gc() {
            // Something to collect: an object that was uploaded by a run that died.
            run.killed_at(Step::Uploaded, &run.tiering());
            run.killed_at(step, &run.gc());
        } else {
            run.killed_at(step, &run.tiering());
        }
        run.assert_nothing_lost();
        run.finishes();
    }
}

/// One step's own tenant, with the bodies of its invoices as they were.
struct Run<'a> {
    up: &'a Up,
    api: &'a Api,
    place: &'a Place,
    step: Step,
    tenant: Tenant,
    before: BTreeMap<String, Answer>,
}

impl<'a> Run<'a> {
    fn new(up: &'a Up, api: &'a Api, place: &'a Place, step: Step) -> Self {
        let made = up
            .run(&["tenant", "create", "--name", step.as_str()])
            .json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let tenant = Tenant {
            id: text("tenant_id"),
            key: text("api_key"),
        };
        for number in 0..INVOICES {
            let answer = api.post(&tenant.key, "/v1/invoices", &invoice(number));
            assert_eq!(answer.status, 201, "{}", answer.json());
        }
        let before = api.bodies(std::slice::from_ref(&tenant));
        assert_eq!(before.len(), INVOICES);
        Self {
            up,
            api,
            place,
            step,
            tenant,
            before,
        }
    }

    fn tiering(&self) -> Vec<&str> {
        vec![
            "tier",
            "run",
            "--as-of",
            "2026-11-20",
            "--tenant",
            &self.tenant.id,
        ]
    }

    fn gc(&self) -> Vec<&str> {
        vec![
            "archive",
            "gc",
            "--grace",
            "0s",
            "--tenant",
            &self.tenant.id,
        ]
    }

    fn killed_at(&self, step: Step, arguments: &[&str]) {
        let mut command = self.up.command(arguments);
        let mut process = Running::start(
            command.env("SHEAF_TIER_PAUSE_AT", step.as_str()),
            self.place,
            step.as_str(),
        );
        let reached = format!("reached {step}");
        wait_for(&reached, || {
            let there = process.stderr().lines().any(|line| line == reached);
            assert!(
                there || !process.has_ended(),
                "never {reached}: {}",
                process.stderr()
            );
            there.then_some(())
        });
        process.kill();
    }

    /// One tier, nothing lost: each invoice is listed and read once, with the bytes that it had.
    fn assert_nothing_lost(&self) {
        let after = self.api.bodies(std::slice::from_ref(&self.tenant));
        let step = self.step;
        assert!(
            after.keys().eq(self.before.keys()),
            "{step}: other invoices than before"
        );
        for (id, answer) in &after {
            assert!(
                answer.body == self.before[id].body,
                "{step}: the body of {id} has changed"
            );
        }
        let documents = |bodies: &BTreeMap<String, Answer>| {
            bodies.values().map(Answer::json).collect::<Vec<_>>()
        };
        assert_eq!(
            sums(&documents(&after)),
            sums(&documents(&self.before)),
            "{step}"
        );
    }

    /// A rerun does the rest, gc leaves nothing behind, verify is clean, and another rerun changes
    /// nothing.
    fn finishes(&self) {
        self.unlocked(&self.tiering());
        self.assert_nothing_lost();
        let after = self.api.bodies(std::slice::from_ref(&self.tenant));
        let cold = after
            .values()
            .filter(|answer| answer.tier.as_deref() == Some("cold"))
            .count();
        assert_eq!(cold, SETTLED, "{}", self.step);

        self.unlocked(&self.gc());
        let verified = self
            .up
            .run(&["archive", "verify", "--tenant", &self.tenant.id])
            .json();
        assert_eq!(verified["invoices"], SETTLED, "{}: {verified}", self.step);
        assert_eq!(
            (&verified["orphans"], &verified["unpublished"]),
            (&0.into(), &0.into()),
            "{}",
            self.step
        );
        let listed = self
            .up
            .run(&["archive", "ls", "--tenant", &self.tenant.id])
            .stdout;
        assert_eq!(
            parquet_files(&self.place.data().join("s3"), &self.tenant.id),
            listed.lines().count()
        );

        let again = self.unlocked(&self.tiering());
        assert_eq!(again["invoices"], 0, "{}: {again}", self.step);
    }

    /// PostgreSQL takes a moment to see that the killed holder of the lock is gone.
    fn unlocked(&self, arguments: &[&str]) -> Value {
        let done = wait_for("the tiering lock", || {
            let done: Done = self.up.run(arguments);
            (!done.stderr.contains("holds the lock")).then_some(done)
        });
        done.json()
    }
}

/// Five paid ones in three months of two years, and two that nobody paid.
fn invoice(number: usize) -> Value {
    let date = [
        "2019-03-05",
        "2019-03-31",
        "2019-04-01",
        "2020-02-29",
        "2020-02-01",
    ][number % 5];
    let mut invoice = json!({
        "external_id": format!("e{number}"),
        "currency": "GBP",
        "customer": {"external_id": "c", "name": "Ann Example"},
        "issue_date": date,
        "lines": [
            {"description": "Mug", "quantity": "3", "unit_price": "1.10", "tax_rate": "0.2"},
            {"description": "Postage", "quantity": "1", "unit_price": format!("{number}.05")},
        ],
        "metadata": {"text": "ü \u{1F4E6}", "number": number},
    });
    if number < SETTLED {
        let amount = format!("{}.01", number + 4);
        invoice["payments"] =
            json!([{"reference": "p", "amount": amount, "paid_on": date, "method": "card"}]);
    }
    invoice
}

/// Objects below a tenant's prefix, as they lie on the disk.
fn parquet_files(dir: &Path, tenant: &str) -> usize {
    let count = |entry: fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() {
            return parquet_files(&path, tenant);
        }
        let text = path.to_str().unwrap();
        usize::from(text.ends_with(".parquet") && text.contains(&format!("tenant_id={tenant}/")))
    };
    fs::read_dir(dir).unwrap().flatten().map(count).sum()
}
