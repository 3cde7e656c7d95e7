//! `sheaf cluster` on clusters of its own, since it moves shards.

use std::collections::BTreeMap;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use sheaf_local::{CitusMode, LocalEnv, Options};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use crate::api::{Api, Tenant, sums};
use crate::command::data::Data;
use crate::process::{Done, Env, Place, Running, sheaf, wait_for};

pub const ADMIN_KEY: &str = "an admin key of the cluster tests";
/// Few, so that moving all takes seconds.
const SHARDS: &str = "2";
const TABLES: [&str; 6] = [
    "invoices",
    "invoice_lines",
    "payments",
    "events",
    "customers",
    "archive_files",
];

/// A cluster and what runs beside it. Moves go through the binary, counts through every door there
/// is.
pub struct Rig {
    pub runtime: Runtime,
    pub local: LocalEnv,
    pub env: Env,
    pub place: Place,
}

impl Rig {
    fn start(citus: CitusMode, workers: usize) -> Self {
        Self::start_with(citus, workers, SHARDS)
    }

    pub fn start_with(citus: CitusMode, workers: usize, shards: &str) -> Self {
        let place = Place::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let options = Options {
            data_dir: place.data(),
            workers: Some(workers),
            citus,
            ..Options::default()
        };
        let local = runtime.block_on(LocalEnv::start(&options, false)).unwrap();
        let env = [
            ("SHEAF_DATABASE_URL", local.database_url()),
            ("SHEAF_S3_ENDPOINT", &local.s3_endpoint()),
            ("SHEAF_S3_BUCKET", local.bucket()),
            ("SHEAF_S3_REGION", local.region()),
            ("AWS_ACCESS_KEY_ID", local.access_key()),
            ("AWS_SECRET_ACCESS_KEY", local.secret_key()),
            ("SHEAF_ADMIN_KEY", ADMIN_KEY),
        ];
        let env = env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let rig = Self {
            runtime,
            local,
            env,
            place,
        };
        rig.run(&["migrate", "--shards", shards]).json();
        rig
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sheaf();
        command.envs(&self.env).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.command(arguments))
    }

    pub fn cluster(&self, arguments: &[&str]) -> Done {
        self.run(&[&["cluster"], arguments].concat())
    }

    fn status(&self) -> Value {
        self.cluster(&["status", "--json"]).json()
    }

    pub fn serve(&mut self) -> Running {
        let arguments = ["serve", "--log-format", "json", "--listen", "127.0.0.1:0"];
        let serving = Running::start(&mut self.command(&arguments), &self.place, "serve");
        let address = wait_for("serve to listen", || {
            let log = serving.stderr();
            let mut events = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.find_map(|event| event["address"].as_str().map(str::to_owned))
        });
        self.env
            .insert("SHEAF_URL".to_owned(), format!("http://{address}"));
        serving
    }

    /// Rows of every table, through the coordinator.
    fn rows(&self) -> BTreeMap<&'static str, i64> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(self.local.database_url(), NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let mut rows = BTreeMap::new();
            for table in TABLES {
                let sql = format!("select count(*) from {table}");
                let row = client.query_one(&sql, &[]).await.unwrap();
                rows.insert(table, row.get(0));
            }
            rows
        })
    }
}

fn node(status: &Value, port: &str) -> Value {
    let nodes = status["nodes"].as_array().unwrap();
    let with_port = |node: &&Value| node["node"] == format!("127.0.0.1:{port}");
    nodes.iter().find(with_port).unwrap().clone()
}

pub fn port_of(url: &str) -> String {
    url.rsplit(':')
        .next()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned()
}

/// From one worker to two and back, with the API running; nothing is lost or doubled on the way.
#[test]
fn citus_a_cluster_grows_moves_and_shrinks() {
    let mut rig = Rig::start(CitusMode::Require, 1);
    let mut serving = rig.serve();
    let data = Data::generated(rig.place.path());
    let upload = data.gzip.to_str().unwrap();
    rig.run(&["ingest", "--platform", "--create-tenants", upload])
        .json();
    let api = Api::new(&rig.env);
    let tenants = api.tenants();
    let rows = rig.rows();
    assert_eq!(rows["invoices"], 2_400);
    assert_eq!(rows["invoice_lines"], 2_400);
    let check = |what: &str| {
        assert_eq!(rig.rows(), rows, "{what}");
        assert_eq!(sums(&api.invoices(&tenants)), data.sums, "{what}");
    };
    check("before");

    let first = port_of(&rig.local.node_urls()[1]);
    let last = rig.cluster(&["drain-node", "127.0.0.1", &first]);
    last.assert_sentence(&[&first, "last node", "shards"]);
    let coordinator = port_of(rig.local.database_url());
    rig.cluster(&["drain-node", "127.0.0.1", &coordinator, "--remove"])
        .assert_sentence(&[&coordinator, "is the coordinator"]);

    // A second worker.
    let second = grow(&rig);
    check("grown");

    let tenant = &tenants[0].id;
    let place = move_there_and_back(&rig, tenant, &first, &second);
    check("moved");

    isolate(&rig, &tenants, &place, &first, &second);
    check("isolated");

    load_and_dead_worker(&rig, &tenants);
    check("killed and started");

    drain(&rig, &first, &second);
    check("drained");
    assert_eq!(serving.end(Signal::TERM).code(), Some(0));
    rig.runtime.block_on(rig.local.stop()).unwrap();
}

fn grow(rig: &Rig) -> String {
    let worker = rig.runtime.block_on(rig.local.add_worker()).unwrap();
    let port = worker.port.to_string();
    rig.cluster(&[
        "move-tenant",
        "0199f2a0-0000-7000-8000-000000000000",
        "127.0.0.1",
        &port,
    ])
    .assert_sentence(&["no tenant"]);
    let added = rig.cluster(&["add-node", "127.0.0.1", &port]);
    assert_eq!(added.json()["cannot_connect"], serde_json::json!([]));
    assert!(
        added.stderr.contains("sheaf cluster rebalance"),
        "{added:?}"
    );
    rig.cluster(&["add-node", "127.0.0.1", &port])
        .assert_sentence(&["in the cluster already"]);
    assert_eq!(node(&rig.status(), &port)["shard_groups"], 0);

    let plan = rig.cluster(&["rebalance", "--dry-run"]).json();
    let moves = plan["moves"].as_array().unwrap();
    assert_eq!(moves.len(), 1, "{plan}");
    assert_eq!(moves[0]["to"], format!("127.0.0.1:{port}"));
    assert!(moves[0]["bytes"].as_i64().unwrap() > 0, "{plan}");
    let done = rig.cluster(&["rebalance"]).json();
    assert_eq!(
        (&done["state"], &done["done"]),
        (&"finished".into(), &1.into()),
        "{done}"
    );
    assert_eq!(node(&rig.status(), &port)["shard_groups"], 1);
    let again = rig.cluster(&["rebalance"]).json();
    assert_eq!(again["state"], "balanced");
    rig.cluster(&["rebalance", "--stop"])
        .assert_sentence(&["no ongoing rebalance"]);
    port
}

/// Moves a tenant to the other worker; answers its place there: port and shard group.
fn move_there_and_back(rig: &Rig, tenant: &str, first: &str, second: &str) -> (String, i64) {
    let to = |port: &str| rig.cluster(&["move-tenant", tenant, "127.0.0.1", port]);
    let there = to(first).json();
    let group = there["shard_id"].as_i64().unwrap();
    let back = to(second);
    let answer = back.json();
    assert_eq!(answer["moved"], true, "{answer}");
    assert_eq!(answer["from"], format!("127.0.0.1:{first}"), "{answer}");
    assert!(back.stderr.contains("other tenant"), "{back:?}");
    assert_eq!(to(second).json()["moved"], false);
    to("1").assert_sentence(&["127.0.0.1:1 is not in the cluster"]);
    let coordinator = port_of(rig.local.database_url());
    to(&coordinator).assert_sentence(&[&coordinator, "not meant to hold shards"]);
    let status = rig.status();
    let groups = status["shard_groups"].as_array().unwrap();
    let owner = groups.iter().find(|one| one["shard_id"] == group).unwrap();
    assert_eq!(owner["node"], format!("127.0.0.1:{second}"), "{status}");
    (second.to_owned(), group)
}

fn isolate(rig: &Rig, tenants: &[Tenant], place: &(String, i64), first: &str, second: &str) {
    let tenant = &tenants[0].id;
    let answer = rig
        .cluster(&["isolate-tenant", tenant, "--to", "127.0.0.1", first])
        .json();
    assert_eq!(
        (&answer["split"], &answer["moved"]),
        (&true.into(), &true.into()),
        "{answer}"
    );
    assert_eq!(answer["from_shard_id"], place.1, "{answer}");
    let status = rig.status();
    let groups = status["shard_groups"].as_array().unwrap();
    let alone = groups
        .iter()
        .find(|one| one["shard_id"] == answer["shard_id"])
        .unwrap();
    assert_eq!(alone["hash_min"], alone["hash_max"]);
    assert_eq!(alone["tenants"], 1);
    assert_eq!(alone["node"], format!("127.0.0.1:{first}"));
    let everybody: i64 = groups
        .iter()
        .map(|one| one["tenants"].as_i64().unwrap())
        .sum();
    assert_eq!(everybody, i64::try_from(tenants.len()).unwrap());
    let again = rig.cluster(&["isolate-tenant", tenant]);
    assert_eq!(again.json()["split"], false);
    assert!(again.stderr.contains("of its own already"), "{again:?}");
    assert_ne!(first, second);
}

/// Who was busy is known by name; a node that is down is named, and the rest is told as before.
fn load_and_dead_worker(rig: &Rig, tenants: &[Tenant]) {
    let status = rig.status();
    let load = &status["load"];
    assert_eq!(load["tracking"], true, "{status}");
    let busy = load["tenants"].as_array().unwrap();
    assert!(!busy.is_empty(), "{status}");
    for one in busy {
        assert!(
            tenants
                .iter()
                .any(|tenant| one["tenant_id"] == tenant.id.as_str()),
            "{one}"
        );
        assert!(
            one["name"].as_str().unwrap().starts_with("Tenant "),
            "{one}"
        );
    }
    let drawn = rig.cluster(&["status"]);
    for part in [
        "NODE",
        "coordinator",
        "worker",
        "█",
        "(isolated)",
        "skew: ",
        "TENANTS BY LOAD",
        "Tenant ",
    ] {
        assert!(
            drawn.stdout.contains(part),
            "no {part} in\n{}",
            drawn.stdout
        );
    }
    assert!(!drawn.stdout.contains("UNREACHABLE"), "{}", drawn.stdout);

    rig.runtime.block_on(rig.local.kill_node(1)).unwrap();
    let status = rig.status();
    let dead = port_of(&rig.local.node_urls()[1]);
    let dead = node(&status, &dead);
    assert!(dead["unreachable"].is_string(), "{status}");
    assert!(
        dead["bytes"].is_null() && dead["shard_groups"].as_i64() > Some(0),
        "{status}"
    );
    let unknown = |group: &&Value| group["bytes"].is_null();
    let groups = status["shard_groups"].as_array().unwrap();
    let unknown = groups.iter().filter(unknown).count();
    assert!(unknown > 0 && unknown < groups.len(), "{status}");
    let drawn = rig.cluster(&["status"]);
    assert!(drawn.stdout.contains("UNREACHABLE"), "{}", drawn.stdout);
    rig.runtime.block_on(rig.local.start_node(1)).unwrap();
    let alive = |node: &Value| node["unreachable"].is_null();
    assert!(rig.status()["nodes"].as_array().unwrap().iter().all(alive));
}

fn drain(rig: &Rig, first: &str, second: &str) {
    let answer = rig
        .cluster(&["drain-node", "127.0.0.1", second, "--remove"])
        .json();
    assert!(answer["moved"].as_i64() > Some(0), "{answer}");
    assert_eq!(answer["removed"], true, "{answer}");
    let status = rig.status();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2, "{status}");
    let groups = status["shard_groups"].as_array().unwrap();
    assert!(groups.len() > 2, "{status}");
    for group in groups {
        assert_eq!(group["node"], format!("127.0.0.1:{first}"));
    }
    rig.cluster(&["drain-node", "127.0.0.1", second])
        .assert_sentence(&["is not in the cluster"]);
}

/// One plain node has a status; all else is refused with a sentence.
#[test]
fn a_plain_node_is_shown_and_nothing_moves() {
    let rig = Rig::start(CitusMode::Off, 0);
    let status = rig.status();
    assert!(status["citus"].is_null());
    assert_eq!(status["nodes"][0]["role"], "plain");
    assert!(status["nodes"][0]["bytes"].as_i64() > Some(0), "{status}");
    let drawn = rig.cluster(&["status"]);
    assert!(drawn.stdout.contains("without Citus"), "{drawn:?}");
    let tenant = "0199f2a0-0000-7000-8000-000000000000";
    for arguments in [
        &["add-node", "127.0.0.1", "1"][..],
        &["drain-node", "127.0.0.1", "1"],
        &["rebalance"],
        &["rebalance", "--dry-run"],
        &["rebalance", "--stop"],
        &["move-tenant", tenant, "127.0.0.1", "1"],
        &["isolate-tenant", tenant],
    ] {
        rig.cluster(arguments)
            .assert_sentence(&["plain PostgreSQL node without Citus"]);
    }
    rig.runtime.block_on(rig.local.stop()).unwrap();
}
