//! The commands, as they are called: exit codes, files, and the way from a measurement to a plan.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_sheaf-loadtest");

/// A stub server, ended with the test.
struct Stub(Child, String);

impl Stub {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(TOOL)
            .args(["stub", "--port", "0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        told.read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self(child, url)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn tool(arguments: &[&str]) -> Output {
    Command::new(TOOL)
        .args(arguments)
        .env_remove("SHEAF_URL")
        .env_remove("SHEAF_ADMIN_KEY")
        .output()
        .unwrap()
}

fn code(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.into_owned())
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("loadtest-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Path::new(path)).unwrap()).unwrap()
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (status, script) = code(&tool(&["completions", shell]));
        assert!(
            status == 0 && script.contains("neighbours"),
            "{shell}: {script}"
        );
    }
    let dir = Dir::new();
    let out = dir.file("man1");
    let (status, said) = code(&tool(&["man", "--out", &out]));
    assert_eq!(status, 0, "{said}");
    let (_, help) = code(&tool(&["--help"]));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 10, "{help}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let page = std::fs::read_to_string(format!("{out}/sheaf-loadtest-{name}.1"));
        assert!(page.is_ok_and(|page| page.contains(".TH")), "{name}");
    }
    assert!(help.contains("4  worse than the baseline"), "{help}");
}

#[test]
fn conditions_and_invalid_runs_set_the_exit_code() {
    let stub = Stub::start(&["--delay", "20ms"]);
    let run = |more: &[&str]| {
        let usual = ["run", "--url", &stub.1, "--mix", "ping=1", "--rate", "100"];
        let times = ["--duration", "1s", "--warmup", "100ms", "--max-lag", "1000"];
        code(&tool(&[&usual[..], &times, more].concat()))
    };
    assert_eq!(run(&["--fail-if", "p50<10s,errors<1%"]).0, 0);
    let (missed, text) = run(&["--fail-if", "p50<10ms,errors<1%"]);
    assert!(
        missed == 2 && text.contains("Objective MISSED: p50<10ms"),
        "{text}"
    );
    let (wrong, text) = run(&["--fail-if", "p50=10ms"]);
    assert!(wrong == 2 && text.contains("there is no < or >"), "{text}");
    let (invalid, text) = run(&["--connections", "1", "--timeout", "50ms"]);
    assert!(invalid == 3 && text.contains("never sent"), "{text}");
}

#[test]
fn a_measurement_becomes_a_plan() {
    let (stub, dir) = (Stub::start(&[]), Dir::new());
    let (costs, prices, plan) = (
        dir.file("costs.json"),
        dir.file("prices.toml"),
        dir.file("plan.json"),
    );
    // The stub's own CPU; a log and tables that grow by a byte each millisecond.
    let probe = format!(
        "awk '{{ sub(/.*\\) /, \"\"); print \"cpu_s\", ($12 + $13) / 100 }}' /proc/{}/stat; \
         echo wal_bytes $(($(date +%s%N) / 1000000)); echo hot_bytes $(($(date +%s%N) / 1000000))",
        stub.0.id()
    );
    let (done, text) = code(&tool(&[
        "measure",
        "--url",
        &stub.1,
        "--admin-key",
        "admin",
        "--tenants",
        "3",
        "--workers",
        "2",
        "--rounds",
        "3",
        "--round",
        "1s",
        "--rate",
        "2000",
        "--operations",
        "pay,get_hot",
        "--probe",
        &probe,
        "--tier",
        "echo '{\"invoices\": 1000, \"bytes\": 90000}'",
        "--json",
        &costs,
    ]));
    assert_eq!(done, 0, "{text}");
    let measured = json(&costs);
    let cost = |work: &str, resource: &str| {
        let all = measured["costs"].as_array().unwrap().iter();
        let found = all.filter(|cost| cost["work"] == work && cost["resource"] == resource);
        found.map(|cost| cost["value"].as_f64().unwrap()).next()
    };
    // A stub answers in some 10 to 100 us of CPU.
    let create = cost("create", "cpu_s").unwrap();
    assert!((1e-6..1e-3).contains(&create), "{create}");
    assert_eq!(cost("keep", "cold_bytes"), Some(90.0));
    assert!(cost("get_hot", "wal_bytes").is_none() && cost("pay", "wal_bytes").is_some());
    std::fs::write(
        &prices,
        "currency = 'EUR'\nnode = { hour = 0.5, vcpu = 8, disk_gb = 4000 }\ndisk = { gb_month = \
        0.1 }\n\
         [[objects]]\nname = 'standard'\ngb_month = 0.02\nput_1000 = 0.005\nget_1000 = 0.0004\n",
    )
    .unwrap();
    let planned = |more: &[&str]| {
        let usual = [
            "plan",
            "--measurement",
            &costs,
            "--prices",
            &prices,
            "--invoices",
            "26e9",
            "--years",
            "50",
            "--lists",
            "0",
            "--json",
            &plan,
        ];
        code(&tool(&[&usual[..], more].concat()))
    };
    let (done, text) = planned(&["--peak-per-minute", "10000", "--cold-reads", "0"]);
    assert_eq!(done, 0, "{text}");
    assert!(
        text.contains("263 billion")
            && text.contains("EXTRAPOLATED")
            && text.contains("989 a minute"),
        "{text}"
    );
    assert_eq!(json(&plan)["years"].as_array().unwrap().len(), 50);
    // A peak below the mean contradicts itself.
    assert_eq!(
        planned(&["--peak-per-minute", "900", "--cold-reads", "0"]).0,
        2
    );
    let (lacking, text) = planned(&["--peak-per-minute", "10000", "--cold-reads", "0.1"]);
    assert!(
        lacking == 1 && text.contains("not measured: get_cold.cpu_s, get_cold.object_gets"),
        "{text}"
    );
}

#[test]
fn a_probe_without_readings_and_a_server_that_is_not_there_are_named() {
    let (stub, dir) = (Stub::start(&[]), Dir::new());
    let costs = dir.file("costs.json");
    let measure = |url: &str, probe: &str| {
        code(&tool(&[
            "measure",
            "--url",
            url,
            "--admin-key",
            "admin",
            "--tenants",
            "1",
            "--workers",
            "1",
            "--rounds",
            "2",
            "--round",
            "100ms",
            "--operations",
            "create",
            "--probe",
            probe,
            "--json",
            &costs,
        ]))
    };
    let (failed, text) = measure(&stub.1, "echo nothing");
    assert!(
        failed == 1 && text.contains("no line `cpu_s NUMBER`"),
        "{text}"
    );
    let (failed, text) = measure("http://127.0.0.1:1", "echo cpu_s 1");
    assert!(
        failed == 1 && text.contains("cannot connect to 127.0.0.1:1"),
        "{text}"
    );
}

#[test]
fn a_simulation_that_finds_other_invoices_than_it_sent_fails() {
    let stub = Stub::start(&[]);
    let simulate = |more: &[&str]| {
        let usual = [
            "simulate",
            "--url",
            &stub.1,
            "--admin-key",
            "admin",
            "--years",
            "1",
        ];
        let size = ["--invoices", "240", "--tenants", "2", "--reads", "0"];
        code(&tool(&[&usual[..], &size, more].concat()))
    };
    // The stub forgets everything at once, and lists invoices of its own.
    let (failed, text) = simulate(&[
        "--tier",
        "echo '{\"invoices\": 0}'",
        "--probe",
        "echo rows 7",
    ]);
    assert_eq!(failed, 1, "{text}");
    assert!(text.contains("NOT CONSISTENT") && text.contains("hot, but never sent"));
    assert!(
        text.contains("rows |\n") && text.contains("lost, doubled"),
        "{text}"
    );
    let (failed, text) = simulate(&["--tier", "echo done on {date}"]);
    assert!(failed == 1 && text.contains("`echo done on 20"), "{text}");
    let (failed, text) = simulate(&["--probe", "echo nothing"]);
    assert!(
        failed == 1 && text.contains("no line `name NUMBER`"),
        "{text}"
    );
    let (failed, text) = simulate(&["--first-year", "2199"]);
    assert!(
        failed == 1 && text.contains("the last simulated year"),
        "{text}"
    );
}
