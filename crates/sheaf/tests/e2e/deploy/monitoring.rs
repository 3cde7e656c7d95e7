//! What deploy/monitoring/ shows and watches: every metric that a panel or a rule names is there,
//! and no panel is empty on a server that works. A real Prometheus says so, of Debian's package
//! (`make prometheus`): where there is none, names alone are compared, and the test says so, unless
//! `SHEAF_REQUIRE_PROMETHEUS` is set, as in CI.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::api::{Api, Tenant};
use crate::command::data::Data;
use crate::load::Load;
use crate::process::{Done, Env, Place, Running, Up, wait_for};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const DASHBOARDS: [&str; 3] = ["overview", "tiering", "tenants-and-queues"];

fn monitoring() -> PathBuf {
    Path::new(REPOSITORY).join("deploy/monitoring")
}

fn dashboard(name: &str) -> Value {
    let file = monitoring().join(format!("dashboards/{name}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A program of Prometheus, if it is here.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let ours = Path::new(REPOSITORY).join("target/prometheus/usr/bin");
    let dirs = [ours].into_iter().chain(std::env::split_paths(&path));
    let found = dirs.map(|dir| dir.join(name)).find(|file| file.is_file());
    let required = std::env::var_os("SHEAF_REQUIRE_PROMETHEUS").is_some();
    assert!(
        found.is_some() || !required,
        "SHEAF_REQUIRE_PROMETHEUS is set, and there is no {name}: make prometheus"
    );
    found
}

/// Expressions of a dashboard by panel, its variables filled in.
fn panels(name: &str) -> Vec<(String, String)> {
    let dashboard = dashboard(name);
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let filled = expression
                .replace("$__rate_interval", "1m")
                .replace("$instance", ".*")
                .replace("$node", ".*");
            assert!(!filled.contains('$'), "{filled}");
            let title = panel["title"].as_str().unwrap();
            all.push((format!("{name}: {title}"), filled));
        }
    }
    all
}

/// Of each alert its expression and its page.
fn alerts() -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(monitoring().join("alerts.yml")).unwrap();
    let mut lines = text.lines().map(str::trim);
    let (mut all, mut name, mut expression) = (BTreeMap::new(), None, None);
    while let Some(line) = lines.next() {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            name = Some(alert.to_owned());
        } else if let Some(of_line) = line.strip_prefix("expr: ") {
            let folded = of_line == ">-";
            let text = if folded {
                lines.next().unwrap()
            } else {
                of_line
            };
            expression = Some(text.to_owned());
        } else if let Some(page) = line.strip_prefix("runbook_url: ") {
            let of_alert = (expression.take().unwrap(), page.to_owned());
            all.insert(name.take().unwrap(), of_alert);
        }
    }
    assert_eq!(all.len(), text.matches("- alert: ").count());
    all
}

/// Names of our metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("sheaf_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn dashboards_are_whole_and_every_alert_has_its_page() {
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name} {panel}");
            let place = &panel["gridPos"];
            let of = |side: &str| place[side].as_u64().unwrap();
            for (x, y) in (of("x")..of("x") + of("w"))
                .flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y)))
            {
                assert!(
                    x < 24 && places.insert((x, y)),
                    "{name}: one panel over another at {place}"
                );
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(
                    target["datasource"]["uid"], "${datasource}",
                    "{name} {panel}"
                );
            }
        }
    }
    let pages = fs::read_to_string(Path::new(REPOSITORY).join("docs/alerts.md")).unwrap();
    let sections = pages.lines().filter_map(|line| line.strip_prefix("### "));
    let sections: Vec<&str> = sections.collect();
    let alerts = alerts();
    assert_eq!(
        sections.iter().copied().collect::<BTreeSet<_>>(),
        alerts.keys().map(String::as_str).collect(),
        "docs/alerts.md has a section on each alert, and on no other"
    );
    for (name, (expression, page)) in alerts {
        assert_eq!(page, format!("docs/alerts.md#{}", name.to_lowercase()));
        assert!(
            !names(&expression).is_empty() || expression.contains("up{"),
            "{name}"
        );
    }
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let Some(promtool) = program("promtool") else {
        eprintln!(
            "skipped: the alerts are not tested, since there is no promtool (make prometheus)"
        );
        return;
    };
    let run = |arguments: &[&str]| {
        let done = Done::of(
            Command::new(&promtool)
                .args(arguments)
                .current_dir(monitoring()),
        );
        assert_eq!(done.code, Some(0), "{done:?}");
        done
    };
    run(&["check", "config", "--syntax-only", "prometheus.yml"]);
    run(&["check", "rules", "alerts.yml"]);
    let files = [
        "alerts_test.yml",
        "alerts_days_test.yml",
        "alerts_months_test.yml",
    ];
    run(&[&["test", "rules"][..], &files].concat());
    let tests = files
        .map(|file| fs::read_to_string(monitoring().join(file)).unwrap())
        .concat();
    for name in alerts().into_keys() {
        let fires = format!("alertname=\"{name}\"");
        assert!(tests.contains(&fires), "no test has {name} fire");
    }
}

#[test]
fn panels_show_a_server_at_work() {
    at_work(0);
}

#[test]
fn citus_panels_show_a_server_at_work() {
    at_work(2);
}

/// A load, a run of tiering and of the other jobs; then what each panel shows.
fn at_work(workers: usize) {
    let place = Place::new();
    let up = Up::start(&place, workers);
    let metrics = Metrics::of(&up);
    let prometheus = Prometheus::start(&place, &up);
    let api = Api::new(&up.env);
    let load = Load::start("monitoring", &up.env["SHEAF_URL"], &api.make_tenants(2));
    let data = Data::generated(place.path());
    let ingested = up.run(&[
        "ingest",
        "--platform",
        "--create-tenants",
        data.gzip.to_str().unwrap(),
    ]);
    assert_eq!(ingested.json()["created"], data.invoices);
    let tenants = api.tenants();
    metrics.wait("sheaf_tiering_waiting_tenants", |waiting| waiting >= 1.0);
    assert!(
        metrics.value("sheaf_tiering_oldest_month_timestamp_seconds")
            < metrics.value("sheaf_tiering_horizon_timestamp_seconds")
    );
    assert!(metrics.value("sheaf_job_last_success_timestamp_seconds{name=\"tier\"}") < 1.0);

    for job in [
        &["tier", "run"][..],
        &["archive", "compact"],
        &["archive", "erase"],
        &["archive", "gc"],
        &["archive", "verify"],
    ] {
        assert_eq!(up.run(job).code, Some(0), "{job:?}");
    }
    read_and_change(&api, &up.env, &tenants);
    metrics.wait("sheaf_tiering_waiting_tenants", |waiting| waiting < 1.0);
    // The others are looked for by themselves.
    let last = "sheaf_job_last_success_timestamp_seconds{name=\"verify\"}";
    metrics.wait(last, |at| at > 1.7e9);
    metrics.wait("sheaf_archive_files{state=\"published\"}", |files| {
        files >= 1.0
    });
    assert!(metrics.value("sheaf_archive_bytes{state=\"published\"}") > 1000.0);
    for job in ["tier", "compact", "erase", "gc", "verify"] {
        let of_job =
            |metric: &str| metrics.value(&format!("sheaf_job_last_{metric}{{name=\"{job}\"}}"));
        assert!(of_job("success_timestamp_seconds") > 1.7e9, "{job}");
        assert!(of_job("failures") < 1.0, "{job}");
    }
    let nodes = f64::from(u32::try_from(workers + 1).unwrap());
    for metric in ["sheaf_nodes_known", "sheaf_nodes_up"] {
        assert_eq!(metrics.value(metric), nodes, "{metric}");
    }

    metrics.assert_all_there();
    match prometheus {
        None => eprintln!(
            "skipped: the panels are not asked for, since there is no prometheus (make prometheus)"
        ),
        Some(prometheus) => {
            prometheus.wait_for_all_panels();
            prometheus.assert_rules_work();
        }
    }
    drop(load.stop());
}

/// Something for each panel: a change, an archived invoice, a list over both tiers, a wrong key.
fn read_and_change(api: &Api, env: &Env, tenants: &[Tenant]) {
    let archived = tenants.iter().find_map(|tenant| {
        let listed = api.get(&tenant.key, "/v1/invoices?limit=100").json();
        let all = listed["data"].as_array().unwrap();
        let id = all.iter().find(|one| one["status"] == "paid")?["id"]
            .as_str()?
            .to_owned();
        Some((tenant, id))
    });
    let (tenant, id) = archived.expect("an archived invoice");
    let read = api.get(&tenant.key, &format!("/v1/invoices/{id}"));
    assert_eq!((read.status, read.tier.as_deref()), (200, Some("cold")));
    let line = json!({"description": "Mug", "quantity": "1", "unit_price": "2.50"});
    let key = &env["SHEAF_API_KEY"];
    let made = api.post(
        key,
        "/v1/invoices",
        &json!({"currency": "GBP",
        "customer": {"external_id": "c", "name": "Ann"}, "lines": [line],
            "issue_date": "2026-01-02"}),
    );
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    let payment =
        json!({"reference": "p", "amount": "1.00", "paid_on": "2026-01-03", "method": "card"});
    let path = format!("/v1/invoices/{}/payments", made["id"].as_str().unwrap());
    assert_eq!(api.post(key, &path, &payment).status, 201);
    assert_eq!(api.get("wrong", "/v1/invoices").status, 401);
}

/// What a server tells.
struct Metrics(Api);

impl Metrics {
    fn of(up: &Up) -> Self {
        let mut env = up.env.clone();
        let url = up.env["SHEAF_METRICS_URL"]
            .strip_suffix("/metrics")
            .unwrap();
        env.insert("SHEAF_URL".to_owned(), url.to_owned());
        Self(Api::new(&env))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.get("", "/metrics").body).unwrap()
    }

    /// The value of a metric with its labels; not a number while there is none.
    fn value(&self, series: &str) -> f64 {
        let text = self.text();
        let mut lines = text.lines();
        let value =
            lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(f64::NAN)
    }

    fn wait(&self, series: &str, is_right: impl Fn(f64) -> bool) {
        wait_for(series, || is_right(self.value(series)).then_some(()));
    }

    fn assert_all_there(&self) {
        let text = self.text();
        let is_there = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines.any(|rest| rest.starts_with([' ', '{']))
        };
        let of_panels = DASHBOARDS.into_iter().flat_map(panels);
        let of_alerts = alerts()
            .into_iter()
            .map(|(name, (expression, _))| (name, expression));
        let mut missing = BTreeSet::new();
        for (place, expression) in of_panels.chain(of_alerts) {
            let unknown = names(&expression)
                .into_iter()
                .filter(|name| !is_there(name));
            missing.extend(unknown.map(|name| format!("{place}: {name}")));
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }
}

/// A Prometheus that watches one server, with our rules.
struct Prometheus {
    api: Api,
    _running: Running,
}

impl Prometheus {
    fn start(place: &Place, up: &Up) -> Option<Self> {
        let program = program("prometheus")?;
        let target = up.env["SHEAF_METRICS_URL"]
            .trim_start_matches("http://")
            .trim_end_matches("/metrics");
        let rules = fs::canonicalize(monitoring()).unwrap().join("alerts.yml");
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "2s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "sheaf", "static_configs": [{"targets": [target]}]}],
        });
        let file = place.path().join("prometheus.json");
        fs::write(&file, config.to_string()).unwrap();
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                place.path().join("prometheus").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(place.path());
        let mut running = Running::start(&mut command, place, "prometheus");
        let mut env = up.env.clone();
        env.insert("SHEAF_URL".to_owned(), format!("http://127.0.0.1:{port}"));
        wait_for("Prometheus to listen", || {
            assert!(
                !running.has_ended(),
                "Prometheus ended: {}",
                running.stderr()
            );
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(Self {
            api: Api::new(&env),
            _running: running,
        })
    }

    /// What an expression comes to now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let answer = self.api.get("", &format!("/api/v1/query?query={encoded}"));
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{expression}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"]["result"].as_array().unwrap().clone()
    }

    fn wait_for_all_panels(&self) {
        let mut left: Vec<_> = DASHBOARDS.into_iter().flat_map(panels).collect();
        assert!(left.len() > 40, "{}", left.len());
        wait_for("each panel to show something", || {
            left.retain(|(_, expression)| self.query(expression).is_empty());
            if let Some((panel, expression)) = left.first() {
                println!(
                    "{} are empty yet, such as {panel}: {expression}",
                    left.len()
                );
            }
            left.is_empty().then_some(())
        });
    }

    fn assert_rules_work(&self) {
        let answer = self.api.get("", "/api/v1/rules").json();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        assert_eq!(rules.len(), alerts().len());
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
        let firing = self.query("ALERTS{alertstate=\"firing\"}");
        assert!(firing.is_empty(), "{firing:?}");
        assert_eq!(self.query("up").len(), 1);
    }
}
