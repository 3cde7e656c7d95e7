//! The cluster as a person sees it.

use std::cmp::Reverse;

use indicatif::{HumanBytes, HumanCount};
use sheaf_store::{ClusterStatus, Load, NodeStatus, Plan, ShardGroup, Skew};

const BAR: i64 = 24;
/// Lines of shard groups, at most; of more than these the largest are shown.
const MOST_GROUPS: usize = 64;
const TRACK_HINT: &str = "tenants by load: not counted; on every node: alter system set \
    citus.stat_tenants_track = 'all'; \
                          select pg_reload_conf();";

/// Nodes, shard groups, skew, moves and load.
pub(super) fn status(status: &ClusterStatus) -> String {
    let mut out = String::new();
    head(&mut out, status);
    nodes(&mut out, &status.nodes);
    if status.citus.is_none() {
        return out;
    }
    groups(&mut out, &status.shard_groups);
    skew(&mut out, status.node_skew, status.group_skew);
    moves(&mut out, status);
    load(&mut out, &status.load);
    out
}

/// A plan in one sentence a move.
pub(super) fn plan(plan: &Plan) -> String {
    if plan.moves.is_empty() {
        return "the cluster is in balance: there is nothing to move".to_owned();
    }
    let bytes = plan.moves.iter().filter_map(|one| one.bytes).sum();
    let mut out = format!(
        "{} shard groups would move, {}:",
        plan.moves.len(),
        human(bytes)
    );
    for one in &plan.moves {
        let (group, from, to) = (one.shard_id, &one.from, &one.to);
        out.push_str(&format!(
            "\n  {group}: {from} -> {to}, {}",
            one.bytes.map_or_else(|| "size unknown".to_owned(), human)
        ));
    }
    out
}

fn head(out: &mut String, status: &ClusterStatus) {
    let what = match &status.citus {
        Some(citus) => format!(
            "Citus {citus} on PostgreSQL {}: {} nodes, {} shard groups",
            status.postgres,
            status.nodes.len(),
            status.shard_groups.len()
        ),
        None => format!(
            "PostgreSQL {} without Citus: one plain node",
            status.postgres
        ),
    };
    out.push_str(&format!("{what}, {} tenants\n\n", count(status.tenants)));
}

fn nodes(out: &mut String, nodes: &[NodeStatus]) {
    let width = width(nodes.iter().map(|status| status.node.to_string()));
    out.push_str(&format!(
        "{:<width$}  {:<11}  {:<11}  {:>6}  {:>6}  {:>10}\n",
        "NODE", "ROLE", "STATE", "GROUPS", "SHARDS", "SIZE"
    ));
    let most = nodes.iter().filter_map(|status| status.bytes).max();
    for status in nodes {
        let tail = match &status.unreachable {
            Some(reason) => format!("{:>10}  {reason}", "?"),
            None => sized(status.bytes, most),
        };
        out.push_str(&format!(
            "{:<width$}  {:<11}  {:<11}  {:>6}  {:>6}  {tail}\n",
            status.node.to_string(),
            status.role,
            state(status),
            status.shard_groups,
            status.shards,
        ));
    }
}

fn state(status: &NodeStatus) -> &'static str {
    match status {
        NodeStatus {
            unreachable: Some(_),
            ..
        } => "UNREACHABLE",
        NodeStatus { active: false, .. } => "inactive",
        NodeStatus {
            should_have_shards: false,
            shard_groups: 1..,
            ..
        } => "draining",
        NodeStatus {
            should_have_shards: false,
            ..
        } => "no shards",
        _ => "up",
    }
}

fn groups(out: &mut String, groups: &[ShardGroup]) {
    let mut shown: Vec<&ShardGroup> = groups.iter().collect();
    if shown.len() > MOST_GROUPS {
        shown.sort_by_key(|group| Reverse(group.bytes));
        shown.truncate(MOST_GROUPS);
    }
    shown.sort_by_key(|group| (group.node.to_string(), group.hash_min));
    let width = width(shown.iter().map(|group| group.node.to_string()));
    out.push_str(&format!(
        "\n{:<11}  {:<width$}  {:<24}  {:>8}  {:>10}\n",
        "SHARD GROUP", "NODE", "HASHES", "TENANTS", "SIZE"
    ));
    let most = groups.iter().filter_map(|group| group.bytes).max();
    for group in &shown {
        let hashes = if group.hash_min == group.hash_max {
            format!("{} (isolated)", group.hash_min)
        } else {
            format!("{}..{}", group.hash_min, group.hash_max)
        };
        out.push_str(&format!(
            "{:<11}  {:<width$}  {hashes:<24}  {:>8}  {}\n",
            group.shard_id,
            group.node.to_string(),
            count(group.tenants),
            sized(group.bytes, most),
        ));
    }
    if groups.len() > shown.len() {
        out.push_str(&format!(
            "and {} smaller ones\n",
            groups.len() - shown.len()
        ));
    }
}

fn skew(out: &mut String, node: Option<Skew>, group: Option<Skew>) {
    let times = |skew: Skew| {
        format!(
            "{}.{:02} times the mean of {}",
            skew.percent / 100,
            skew.percent % 100,
            human(skew.mean)
        )
    };
    if let (Some(node), Some(group)) = (node, group) {
        out.push_str(&format!(
            "\nskew: the fullest node has {}, the largest shard group {}\n",
            times(node),
            times(group)
        ));
    }
}

fn moves(out: &mut String, status: &ClusterStatus) {
    if let Some(job) = status.rebalance.as_ref().filter(|job| job.is_running()) {
        out.push_str(&format!(
            "\nrebalance job {} is {}: {} of {} moves done\n",
            job.job_id, job.state, job.done, job.tasks
        ));
        if let Some(reason) = &job.reason {
            out.push_str(&format!("  a move is tried again: {reason}\n"));
        }
    }
    for one in &status.moves {
        out.push_str(&format!(
            "  {} {} -> {}: {}, {} of {}\n",
            one.operation.as_deref().unwrap_or("move"),
            one.from,
            one.to,
            one.phase.as_deref().unwrap_or("starting"),
            human(one.copied),
            human(one.bytes)
        ));
    }
}

fn load(out: &mut String, load: &Load) {
    if !load.tracking {
        out.push_str(&format!("\n{TRACK_HINT}\n"));
        return;
    }
    if load.tenants.is_empty() {
        out.push_str("\ntenants by load: nothing was counted in the last two minutes\n");
        return;
    }
    let width = width(load.tenants.iter().map(|tenant| tenant.node.to_string()));
    out.push_str(&format!(
        "\n{:<36}  {:<width$}  {:>8}  {:>8}  {:>8}  NAME\n",
        "TENANTS BY LOAD, LAST 1-2 MINUTES", "NODE", "QUERIES", "READS", "CPU MS"
    ));
    for tenant in &load.tenants {
        out.push_str(&format!(
            "{:<36}  {:<width$}  {:>8}  {:>8}  {:>8}  {}\n",
            tenant.tenant_id,
            tenant.node.to_string(),
            count(tenant.queries),
            count(tenant.reads),
            count(tenant.cpu_ms),
            tenant.name.as_deref().unwrap_or("?"),
        ));
    }
}

/// A size and its bar; a question mark where it is unknown.
fn sized(bytes: Option<i64>, most: Option<i64>) -> String {
    let Some(bytes) = bytes else {
        return format!("{:>10}", "?");
    };
    let text = format!("{:>10}  {}", human(bytes), bar(bytes, most.unwrap_or(0)));
    text.trim_end().to_owned()
}

/// Something is never nothing: the shortest bar is a thin one.
fn bar(bytes: i64, most: i64) -> String {
    if bytes <= 0 || most <= 0 {
        return String::new();
    }
    let cells = bytes.saturating_mul(BAR) / most;
    if cells == 0 {
        "▏".to_owned()
    } else {
        "█".repeat(usize::try_from(cells).unwrap_or(0))
    }
}

fn width(texts: impl Iterator<Item = String>) -> usize {
    texts
        .map(|text| text.chars().count())
        .max()
        .unwrap_or(0)
        .max(4)
}

fn human(bytes: i64) -> String {
    HumanBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}

fn count(number: i64) -> String {
    HumanCount(u64::try_from(number).unwrap_or(0)).to_string()
}

#[cfg(test)]
mod tests {
    use super::{BAR, bar};

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(5, 10).chars().count(), 12);
        assert_eq!(bar(i64::MAX / BAR, i64::MAX / BAR).chars().count(), 24);
    }
}
