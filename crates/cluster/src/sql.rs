//! The statements of this crate, one file each: `sql/queries/cluster/*.sql` and `citus/*.sql`.

macro_rules! query {
    ($name:ident, $path:literal) => {
        pub(crate) const $name: &str = include_str!(concat!("../../../", $path));
    };
}

query!(ADMIN_ADD_NODE, "citus/admin/add_node.sql");
query!(ADMIN_BACKEND_PID, "citus/admin/backend_pid.sql");
query!(ADMIN_CITUS_VERSION, "citus/admin/citus_version.sql");
query!(ADMIN_CLEANUP, "citus/admin/cleanup.sql");
query!(ADMIN_CREATE_EXTENSION, "citus/admin/create_extension.sql");
query!(ADMIN_INSPECT_DISK, "citus/admin/inspect_disk.sql");
query!(
    ADMIN_INSPECT_DISTRIBUTED,
    "citus/admin/inspect_distributed.sql"
);
query!(ADMIN_INSPECT_MEMBERS, "citus/admin/inspect_members.sql");
query!(ADMIN_INSPECT_NODE, "citus/admin/inspect_node.sql");
query!(ADMIN_INSPECT_RIGHTS, "citus/admin/inspect_rights.sql");
query!(ADMIN_INSPECT_SETTINGS, "citus/admin/inspect_settings.sql");
query!(ADMIN_ISOLATE_TENANT, "citus/admin/isolate_tenant.sql");
query!(ADMIN_LEFTOVERS, "citus/admin/leftovers.sql");
query!(ADMIN_LOCAL_SIZES, "citus/admin/local_sizes.sql");
query!(ADMIN_MOVES, "citus/admin/moves.sql");
query!(ADMIN_MOVE_SHARD, "citus/admin/move_shard.sql");
query!(ADMIN_NEWCOMER, "citus/admin/newcomer.sql");
query!(ADMIN_NODES, "citus/admin/nodes.sql");
query!(ADMIN_NODE_FACTS, "citus/admin/node_facts.sql");
query!(ADMIN_NODE_HEALTH, "citus/admin/node_health.sql");
query!(ADMIN_REBALANCE_JOB, "citus/admin/rebalance_job.sql");
query!(ADMIN_REBALANCE_PLAN, "citus/admin/rebalance_plan.sql");
query!(ADMIN_REBALANCE_START, "citus/admin/rebalance_start.sql");
query!(ADMIN_REBALANCE_STOP, "citus/admin/rebalance_stop.sql");
query!(ADMIN_REMOVE_NODE, "citus/admin/remove_node.sql");
query!(
    ADMIN_REPLICATE_REFERENCE_TABLES,
    "citus/admin/replicate_reference_tables.sql"
);
query!(ADMIN_SESSION, "citus/admin/session.sql");
query!(ADMIN_SHARD_GROUPS, "citus/admin/shard_groups.sql");
query!(
    ADMIN_SHOULD_HAVE_SHARDS,
    "citus/admin/should_have_shards.sql"
);
query!(ADMIN_STAT_TENANTS, "citus/admin/stat_tenants.sql");
query!(
    ADMIN_STAT_TENANTS_TRACK,
    "citus/admin/stat_tenants_track.sql"
);
query!(ADMIN_TENANT, "citus/admin/tenant.sql");
query!(ADMIN_TENANTS_PER_GROUP, "citus/admin/tenants_per_group.sql");
query!(ADMIN_TENANT_NAMES, "citus/admin/tenant_names.sql");
query!(
    CLUSTER_DATABASE_SIZE,
    "sql/queries/cluster/database_size.sql"
);
query!(CLUSTER_HAS_CITUS, "sql/queries/cluster/has_citus.sql");
query!(CLUSTER_HOLD_SHARDS, "sql/queries/cluster/hold_shards.sql");
query!(CLUSTER_PATIENCE, "sql/queries/cluster/patience.sql");
query!(CLUSTER_PLACEMENTS, "citus/placements.sql");
query!(CLUSTER_READ_ONLY, "sql/queries/cluster/read_only.sql");
query!(CLUSTER_ROWS, "sql/queries/cluster/rows.sql");
query!(CLUSTER_SEQUENTIAL, "sql/queries/cluster/sequential.sql");
query!(TENANT_COUNT, "sql/queries/tenant/count.sql");
