//! The peers: psql and pgbench against the same cluster, and our own look into its tables.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sheaf_local::{Install, LocalEnv};
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{Failure, cpu};

/// Time before measuring starts, ours and the peer's.
pub(crate) const WARMUP: Duration = Duration::from_secs(2);
/// Everything that an invoice brings with it.
pub(crate) const TABLES: [&str; 5] = [
    "customers",
    "invoices",
    "invoice_lines",
    "payments",
    "events",
];

/// The cluster behind the server.
pub(crate) struct Database {
    bindir: PathBuf,
    url: String,
    pub(crate) client: Client,
    nodes: Vec<Client>,
}

impl Database {
    pub(crate) async fn connect(env: &LocalEnv) -> Result<Self, Failure> {
        let installs = Install::discover()?;
        let install = installs
            .into_iter()
            .find(|install| install.citus == env.is_citus() || !env.is_citus());
        let mut nodes = Vec::new();
        for url in env.node_urls() {
            nodes.push(connect(url).await?);
        }
        Ok(Self {
            bindir: install.ok_or("no PostgreSQL")?.bindir,
            url: env.database_url().to_owned(),
            client: connect(env.database_url()).await?,
            nodes,
        })
    }

    /// Empties the tables, and gives every step the same start: nothing left to write back.
    pub(crate) async fn reset(&self) -> Result<(), Failure> {
        self.client
            .batch_execute(&format!("truncate {}", TABLES.join(", ")))
            .await?;
        self.checkpoint().await
    }

    /// Writes back what is dirty, on every node.
    pub(crate) async fn checkpoint(&self) -> Result<(), Failure> {
        for node in &self.nodes {
            node.batch_execute("checkpoint").await?;
        }
        Ok(())
    }

    /// Fresh statistics on every node, so that plans are not made for empty tables.
    pub(crate) async fn analyze(&self) -> Result<(), Failure> {
        self.client
            .batch_execute(&format!("vacuum analyze {}", TABLES.join(", ")))
            .await?;
        self.checkpoint().await
    }

    /// The processes that own the nodes' servers, the coordinator's (or the only node's) first.
    pub(crate) async fn postmasters(&self) -> Result<Vec<u32>, Failure> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let row = node.query_one("select pg_backend_pid()", &[]).await?;
            found.push(cpu::parent(u32::try_from(row.try_get::<_, i32>(0)?)?)?);
        }
        Ok(found)
    }

    /// Rows of a table.
    pub(crate) async fn count(&self, table: &str) -> Result<u64, Failure> {
        let row = self
            .client
            .query_one(&format!("select count(*) from {table}"), &[])
            .await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Bytes of tables, their partitions and shards, with all indexes, on every node.
    pub(crate) async fn bytes(&self, tables: &[&str]) -> Result<u64, Failure> {
        let mut bytes = 0;
        for node in &self.nodes {
            // Citus hides shards from whoever reads pg_class. Without it the setting is nobody's,
            // and does nothing.
            node.batch_execute("checkpoint; set citus.override_table_visibility = off")
                .await?;
            for table in tables {
                // Shards are named after their table and partition: invoices_p2010_102008.
                let sum = "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from \
                    pg_class \
                           where relkind = 'r' and (relname = $1 or relname ~ ('^' || $1 || \
                           '_(y|p)?[0-9]'))";
                let row = node.query_one(sum, &[table]).await?;
                bytes += u64::try_from(row.try_get::<_, i64>(0)?)?;
            }
        }
        Ok(bytes)
    }

    /// How many of the created invoices (tenant, id) are not in the tables.
    pub(crate) async fn missing(&self, created: &[(Uuid, Uuid)]) -> Result<usize, Failure> {
        let mut by_tenant: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (tenant, id) in created {
            by_tenant.entry(*tenant).or_default().push(*id);
        }
        let mut missing = 0;
        for (tenant, ids) in by_tenant {
            let rows = self
                .client
                .query("select id from invoices where tenant_id = $1", &[&tenant])
                .await?;
            let stored: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            missing += ids.iter().filter(|id| !stored.contains(id)).count();
        }
        Ok(missing)
    }

    /// Runs a psql script; one connection, each statement its own transaction.
    pub(crate) async fn psql(&self, script: &Path) -> Result<(), Failure> {
        let output = Command::new(self.bindir.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
            .arg(format!("--dbname={}", self.url))
            .arg(format!("--file={}", script.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
    }

    /// Transactions per second of a pgbench script with prepared statements, the first seconds left
    /// out.
    pub(crate) async fn pgbench(
        &self,
        script: &Path,
        clients: u16,
        time: Duration,
    ) -> Result<f64, Failure> {
        let output = Command::new(self.bindir.join("pgbench"))
            .args([
                "--no-vacuum",
                "--protocol=prepared",
                "--progress=1",
                "--jobs=2",
            ])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", (WARMUP + time).as_secs()))
            .arg(format!("--file={}", script.display()))
            .arg(&self.url)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("pgbench: {said}").into());
        }
        mean_rate(&said).ok_or_else(|| format!("pgbench reported no progress: {said}").into())
    }
}

async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with its client; errors come out of the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

/// The mean of the rates that pgbench reports every second, without the warm-up.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
fn mean_rate(said: &str) -> Option<f64> {
    let warm = |(time, rate): (f64, f64)| (time > WARMUP.as_secs_f64() + 0.5).then_some(rate);
    let rates: Vec<f64> = said.lines().filter_map(progress).filter_map(warm).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// Reads `progress: 3.0 s, 1234.5 tps, lat ...`: the time, and the rate of the second before it.
fn progress(line: &str) -> Option<(f64, f64)> {
    let (time, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    Some((time.parse().ok()?, rest.split_once(" tps")?.0.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::mean_rate;

    #[test]
    fn the_warm_up_of_pgbench_is_left_out() {
        let said = "pgbench (15.10)\nprogress: 1.0 s, 10.0 tps, lat 1.0 ms stddev 0.1, 0 failed\n\
                    progress: 2.0 s, 50.0 tps, lat 1 ms\nprogress: 3.0 s, 100.0 tps, lat 1 ms\n\
                    progress: 4.0 s, 200.5 tps, lat 1 ms\n";
        assert_eq!(mean_rate(said), Some(150.25));
        assert_eq!(mean_rate("pgbench: error: connection failed\n"), None);
    }
}
