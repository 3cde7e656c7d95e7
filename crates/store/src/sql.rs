//! Every statement, one file each: `sql/queries/<noun>/<verb>.sql` and `citus/*.sql`.

macro_rules! query {
    ($name:ident, $path:literal) => {
        pub(crate) const $name: &str = include_str!(concat!("../../../", $path));
    };
}

query!(CUSTOMER_ERASE, "sql/queries/customer/erase.sql");
query!(
    CUSTOMER_ERASE_HISTORY,
    "sql/queries/customer/erase_history.sql"
);
query!(
    CUSTOMER_ERASE_INVOICES,
    "sql/queries/customer/erase_invoices.sql"
);
query!(CUSTOMER_HELD_YEARS, "sql/queries/customer/held_years.sql");
query!(
    CUSTOMER_LOCK_PERSONAL,
    "sql/queries/customer/lock_personal.sql"
);
query!(ERASURE_ADD_HOT, "sql/queries/erasure/add_hot.sql");
query!(ERASURE_COUNT_OPEN, "sql/queries/erasure/count_open.sql");
query!(ERASURE_GET, "sql/queries/erasure/get.sql");
query!(ERASURE_OPEN, "sql/queries/erasure/open.sql");
query!(ERASURE_PASS, "sql/queries/erasure/pass.sql");
query!(ERASURE_REQUEST, "sql/queries/erasure/request.sql");
query!(EVENT_ERASE, "sql/queries/event/erase.sql");
query!(EVENT_NAMING, "sql/queries/event/naming.sql");
query!(INVOICE_LOCK_OWNERS, "sql/queries/invoice/lock_owners.sql");
query!(INVOICE_TOUCH, "sql/queries/invoice/touch.sql");
query!(METADATA_COLUMNS_GET, "sql/queries/metadata_columns/get.sql");
query!(
    METADATA_COLUMNS_LOCK,
    "sql/queries/metadata_columns/lock.sql"
);
query!(METADATA_COLUMNS_PUT, "sql/queries/metadata_columns/put.sql");
query!(CLUSTER_ROWS, "sql/queries/cluster/rows.sql");
query!(CLUSTER_PATIENCE, "sql/queries/cluster/patience.sql");
query!(CLUSTER_SEQUENTIAL, "sql/queries/cluster/sequential.sql");
query!(
    CLUSTER_ADVISORY_UNLOCK,
    "sql/queries/cluster/advisory_unlock.sql"
);
query!(RETENTION_ENSURE, "sql/queries/retention/ensure.sql");
query!(RETENTION_SHARE, "sql/queries/retention/share.sql");
query!(RETENTION_LIST, "sql/queries/retention/list.sql");
query!(RETENTION_LOCK, "sql/queries/retention/lock.sql");
query!(RETENTION_PUT, "sql/queries/retention/put.sql");
query!(IDEMPOTENCY_PROGRESS, "sql/queries/idempotency/progress.sql");
query!(
    CLUSTER_UNDISTRIBUTED,
    "sql/queries/cluster/undistributed.sql"
);
query!(API_KEY_COUNT, "sql/queries/api_key/count.sql");
query!(API_KEY_CREATE, "sql/queries/api_key/create.sql");
query!(API_KEY_FIND, "sql/queries/api_key/find.sql");
query!(API_KEY_EXPIRE, "sql/queries/api_key/expire.sql");
query!(API_KEY_GET, "sql/queries/api_key/get.sql");
query!(API_KEY_LIST, "sql/queries/api_key/list.sql");
query!(API_KEY_PURGE, "sql/queries/api_key/purge.sql");
query!(API_KEY_REVOKE, "sql/queries/api_key/revoke.sql");
query!(ARCHIVE_FILE_BEFORE, "sql/queries/archive_file/before.sql");
query!(ARCHIVE_FILE_COUNT, "sql/queries/archive_file/count.sql");
query!(ARCHIVE_FILE_BETWEEN, "sql/queries/archive_file/between.sql");
query!(
    ARCHIVE_FILE_DESCRIBE_NUMBERS,
    "sql/queries/archive_file/describe_numbers.sql"
);
query!(
    ARCHIVE_FILE_WITH_NUMBERS,
    "sql/queries/archive_file/with_numbers.sql"
);
query!(ARCHIVE_FILE_FOR_ID, "sql/queries/archive_file/for_id.sql");
query!(ARCHIVE_FILE_LATER, "sql/queries/archive_file/later.sql");
query!(ARCHIVE_FILE_FORGET, "sql/queries/archive_file/forget.sql");
query!(ARCHIVE_FILE_LIST, "sql/queries/archive_file/list.sql");
query!(ARCHIVE_FILE_NEXT, "sql/queries/archive_file/next.sql");
query!(ARCHIVE_FILE_RETIRE, "sql/queries/archive_file/retire.sql");
query!(
    ARCHIVE_FILE_NOTE_DELETION,
    "sql/queries/archive_file/note_deletion.sql"
);
query!(
    ARCHIVE_FILE_DELETING,
    "sql/queries/archive_file/deleting.sql"
);
query!(
    ARCHIVE_FILE_MARK_GARBAGE,
    "sql/queries/archive_file/mark_garbage.sql"
);
query!(
    ARCHIVE_FILE_NEXT_GENERATION,
    "sql/queries/archive_file/next_generation.sql"
);
query!(
    ARCHIVE_FILE_NEXT_PART,
    "sql/queries/archive_file/next_part.sql"
);
query!(
    ARCHIVE_FILE_OF_YEARS,
    "sql/queries/archive_file/of_years.sql"
);
query!(ARCHIVE_FILE_PUBLISH, "sql/queries/archive_file/publish.sql");
query!(ARCHIVE_FILE_STAGE, "sql/queries/archive_file/stage.sql");
query!(
    CLUSTER_ADVISORY_LOCK,
    "sql/queries/cluster/advisory_lock.sql"
);
query!(
    CLUSTER_ADVISORY_XACT_LOCK,
    "sql/queries/cluster/advisory_xact_lock.sql"
);
query!(CLUSTER_HAS_CITUS, "sql/queries/cluster/has_citus.sql");
query!(CLUSTER_HAS_HISTORY, "sql/queries/cluster/has_history.sql");
query!(CLUSTER_HOLD_SHARDS, "sql/queries/cluster/hold_shards.sql");
query!(CLUSTER_LOCK_NUMBERS, "sql/queries/cluster/lock_numbers.sql");
query!(CLUSTER_READ_ONLY, "sql/queries/cluster/read_only.sql");
query!(
    CLUSTER_SCHEMA_VERSION,
    "sql/queries/cluster/schema_version.sql"
);
query!(
    CLUSTER_TRY_ADVISORY_LOCK_SHARED,
    "sql/queries/cluster/try_advisory_lock_shared.sql"
);
query!(
    CLUSTER_TRY_ADVISORY_LOCK,
    "sql/queries/cluster/try_advisory_lock.sql"
);
query!(JOB_RUN_LIST, "sql/queries/job_run/list.sql");
query!(JOB_RUN_RECORD, "sql/queries/job_run/record.sql");
query!(CUSTOMER_COPY, "sql/queries/customer/copy.sql");
query!(CUSTOMER_INSERT, "sql/queries/customer/insert.sql");
query!(
    CUSTOMER_FIND_EXTERNAL_IDS,
    "sql/queries/customer/find_external_ids.sql"
);
query!(CUSTOMER_FIND_IDS, "sql/queries/customer/find_ids.sql");
query!(CUSTOMER_CREATE, "sql/queries/customer/create.sql");
query!(CUSTOMER_DELETE, "sql/queries/customer/delete.sql");
query!(CUSTOMER_DELETED, "sql/queries/customer/deleted.sql");
query!(CUSTOMER_GET, "sql/queries/customer/get.sql");
query!(CUSTOMER_LIST, "sql/queries/customer/list.sql");
query!(CUSTOMER_LOCK, "sql/queries/customer/lock.sql");
query!(
    CUSTOMER_LOCK_INVOICES,
    "sql/queries/customer/lock_invoices.sql"
);
query!(CUSTOMER_MERGED, "sql/queries/customer/merged.sql");
query!(
    CUSTOMER_MOVE_INVOICES,
    "sql/queries/customer/move_invoices.sql"
);
query!(CUSTOMER_ANY_INVOICE, "sql/queries/customer/any_invoice.sql");
query!(CUSTOMER_SET_MERGED, "sql/queries/customer/set_merged.sql");
query!(CUSTOMER_UPDATE, "sql/queries/customer/update.sql");
query!(
    ARCHIVE_FILE_ANY_PUBLISHED,
    "sql/queries/archive_file/any_published.sql"
);
query!(REPORT_BALANCE, "sql/queries/report/balance.sql");
query!(REPORT_SUMMARY, "sql/queries/report/summary.sql");
query!(REPORT_PAID, "sql/queries/report/paid.sql");
query!(REPORT_AGING, "sql/queries/report/aging.sql");
query!(REPORT_AGING_NOBODY, "sql/queries/report/aging_nobody.sql");
query!(REPORT_SETTINGS, "sql/queries/report/settings.sql");
query!(
    REPORT_AGING_CUSTOMERS,
    "sql/queries/report/aging_customers.sql"
);
query!(EVENT_COPY, "sql/queries/event/copy.sql");
query!(EVENT_INSERT, "sql/queries/event/insert.sql");
query!(EVENT_RECORD, "sql/queries/event/record.sql");
query!(EVENT_BETWEEN, "sql/queries/event/between.sql");
query!(EVENT_GET, "sql/queries/event/get.sql");
query!(IDEMPOTENCY_ABANDON, "sql/queries/idempotency/abandon.sql");
query!(IDEMPOTENCY_BEGIN, "sql/queries/idempotency/begin.sql");
query!(IDEMPOTENCY_CLAIM, "sql/queries/idempotency/claim.sql");
query!(IDEMPOTENCY_COPY, "sql/queries/idempotency/copy.sql");
query!(IDEMPOTENCY_INSERT, "sql/queries/idempotency/insert.sql");
query!(IDEMPOTENCY_EXTEND, "sql/queries/idempotency/extend.sql");
query!(IDEMPOTENCY_FIND, "sql/queries/idempotency/find.sql");
query!(IDEMPOTENCY_FINISH, "sql/queries/idempotency/finish.sql");
query!(IDEMPOTENCY_GET, "sql/queries/idempotency/get.sql");
query!(IDEMPOTENCY_OLD, "sql/queries/idempotency/old.sql");
query!(IDEMPOTENCY_SWEEP, "sql/queries/idempotency/sweep.sql");
query!(INVOICE_COPY, "sql/queries/invoice/copy.sql");
query!(INVOICE_INSERT, "sql/queries/invoice/insert.sql");
query!(
    INVOICE_FIND_EXTERNAL_IDS,
    "sql/queries/invoice/find_external_ids.sql"
);
query!(INVOICE_FIND_IDS, "sql/queries/invoice/find_ids.sql");
query!(INVOICE_NUMBERED, "sql/queries/invoice/numbered.sql");
query!(
    INVOICE_NUMBERS_TWICE,
    "sql/queries/invoice/numbers_twice.sql"
);
query!(INVOICE_FIND_NUMBERS, "sql/queries/invoice/find_numbers.sql");
query!(
    INVOICE_FIND_NUMBERS_OF_ALL_YEARS,
    "sql/queries/invoice/find_numbers_of_all_years.sql"
);
query!(
    ARCHIVE_RECALL_RECORD,
    "sql/queries/archive_recall/record.sql"
);
query!(
    ARCHIVE_RECALL_OF_FILE,
    "sql/queries/archive_recall/of_file.sql"
);
query!(
    ARCHIVE_RECALL_LATEST,
    "sql/queries/archive_recall/latest.sql"
);
query!(
    ARCHIVE_RECALL_OF_TENANT,
    "sql/queries/archive_recall/of_tenant.sql"
);
query!(ARCHIVE_RECALL_OF_ID, "sql/queries/archive_recall/of_id.sql");
query!(ARCHIVE_FILE_HOLD, "sql/queries/archive_file/hold.sql");
query!(
    ARCHIVE_FILE_HOLD_ALL,
    "sql/queries/archive_file/hold_all.sql"
);
query!(
    ARCHIVE_FILE_SUPERSEDE,
    "sql/queries/archive_file/supersede.sql"
);
query!(ARCHIVE_RECALL_ANY, "sql/queries/archive_recall/any.sql");
query!(
    ARCHIVE_RECALL_FORGET,
    "sql/queries/archive_recall/forget.sql"
);
query!(EVENT_PAGE, "sql/queries/event/page.sql");
query!(EVENT_FEED, "sql/queries/event/feed.sql");
query!(EVENT_HORIZON, "sql/queries/event/horizon.sql");
query!(EVENT_RESTORE, "sql/queries/event/restore.sql");
query!(EVENT_WEIGHT, "sql/queries/event/weight.sql");
query!(INVOICE_UPDATE, "sql/queries/invoice/update.sql");
query!(LINE_DELETE, "sql/queries/line/delete.sql");
query!(
    NUMBER_CLAIM_COLLISIONS,
    "sql/queries/number_claim/collisions.sql"
);
query!(NUMBER_CLAIM_COPY, "sql/queries/number_claim/copy.sql");
query!(NUMBER_CLAIM_DELETE, "sql/queries/number_claim/delete.sql");
query!(NUMBER_CLAIM_ENTERED, "sql/queries/number_claim/entered.sql");
query!(NUMBER_CLAIM_FIND, "sql/queries/number_claim/find.sql");
query!(NUMBER_CLAIM_INSERT, "sql/queries/number_claim/insert.sql");
query!(
    NUMBER_CLAIM_IS_ENTERED,
    "sql/queries/number_claim/is_entered.sql"
);
query!(NUMBER_CLAIM_LOCK, "sql/queries/number_claim/lock.sql");
query!(NUMBER_CLAIM_PAGE, "sql/queries/number_claim/page.sql");
query!(NUMBER_SERIES_ENSURE, "sql/queries/number_series/ensure.sql");
query!(NUMBER_SERIES_LIST, "sql/queries/number_series/list.sql");
query!(NUMBER_SERIES_LOCK, "sql/queries/number_series/lock.sql");
query!(NUMBER_SERIES_NEXT, "sql/queries/number_series/next.sql");
query!(NUMBER_SERIES_SET, "sql/queries/number_series/set.sql");
query!(INVOICE_GET, "sql/queries/invoice/get.sql");
query!(INVOICE_NEXT_ID, "sql/queries/invoice/next_id.sql");
query!(INVOICE_READ_PERIOD, "sql/queries/invoice/read_period.sql");
query!(INVOICE_LIST, "sql/queries/invoice/list.sql");
query!(LINE_COPY, "sql/queries/line/copy.sql");
query!(LINE_INSERT, "sql/queries/line/insert.sql");
query!(LINE_BETWEEN, "sql/queries/line/between.sql");
query!(LINE_GET, "sql/queries/line/get.sql");
query!(PARTITION_DETACH, "sql/queries/partition/detach.sql");
query!(PARTITION_DROP, "sql/queries/partition/drop.sql");
query!(PARTITION_EARLY, "sql/queries/partition/early.sql");
query!(PARTITION_EMPTY, "sql/queries/partition/empty.sql");
query!(PARTITION_FUNCTION, "sql/queries/partition/function.sql");
query!(PARTITION_LIST, "sql/queries/partition/list.sql");
query!(PARTITION_MAKE, "sql/queries/partition/make.sql");
query!(PARTITION_TABLES, "sql/queries/partition/tables.sql");
query!(ROLE_CREATE, "sql/queries/role/create.sql");
query!(ROLE_EXISTS, "sql/queries/role/exists.sql");
query!(ROLE_GRANT, "sql/queries/role/grant.sql");
query!(ROLE_GRANT_FUNCTION, "sql/queries/role/grant_function.sql");
query!(ROLE_KEEP_EVENTS, "sql/queries/role/keep_events.sql");
query!(ROLE_SEE_ACTIVITY, "sql/queries/role/see_activity.sql");
query!(ROLE_SEES_ACTIVITY, "sql/queries/role/sees_activity.sql");
query!(PAYMENT_COPY, "sql/queries/payment/copy.sql");
query!(PAYMENT_INSERT, "sql/queries/payment/insert.sql");
query!(PAYMENT_BETWEEN, "sql/queries/payment/between.sql");
query!(PAYMENT_GET, "sql/queries/payment/get.sql");
query!(PROFILE_CREATE, "sql/queries/profile/create.sql");
query!(PROFILE_GET, "sql/queries/profile/get.sql");
query!(PROFILE_KEEP, "sql/queries/profile/keep.sql");
query!(
    PROFILE_KEEP_VERSIONS,
    "sql/queries/profile/keep_versions.sql"
);
query!(PROFILE_LOCK, "sql/queries/profile/lock.sql");
query!(PROFILE_OF_DOCUMENT, "sql/queries/profile/of_document.sql");
query!(PROFILE_UPDATE, "sql/queries/profile/update.sql");
query!(PROFILE_VERSION, "sql/queries/profile/version.sql");
query!(TENANT_CREATE, "sql/queries/tenant/create.sql");
query!(
    TENANT_CREATE_MISSING,
    "sql/queries/tenant/create_missing.sql"
);
query!(
    TENANT_FIND_EXTERNAL_IDS,
    "sql/queries/tenant/find_external_ids.sql"
);
query!(TENANT_GET, "sql/queries/tenant/get.sql");
query!(TENANT_LIST, "sql/queries/tenant/list.sql");
query!(
    TENANT_PAGE_ASCENDING,
    "sql/queries/tenant/page_ascending.sql"
);
query!(
    TIERING_COUNT_UNSETTLED,
    "sql/queries/tiering/count_unsettled.sql"
);
query!(
    TIERING_DELETE_EVENTS,
    "sql/queries/tiering/delete_events.sql"
);
query!(
    TIERING_DELETE_INVOICE_LINES,
    "sql/queries/tiering/delete_invoice_lines.sql"
);
query!(
    TIERING_DELETE_INVOICES,
    "sql/queries/tiering/delete_invoices.sql"
);
query!(
    TIERING_DELETE_PAYMENTS,
    "sql/queries/tiering/delete_payments.sql"
);
query!(TIERING_STAYING, "sql/queries/tiering/staying.sql");
query!(TIERING_NEXT_SETTLED, "sql/queries/tiering/next_settled.sql");
query!(CITUS_COLOCATE, "citus/colocate.sql");
query!(CITUS_HOLD_SHARDS, "citus/hold_shards.sql");
query!(CITUS_DISTRIBUTE, "citus/distribute.sql");
query!(DISTRIBUTED_TABLES, "citus/distributed_tables.txt");
query!(CLUSTER_PLACEMENTS, "citus/placements.sql");
query!(CITUS_REFERENCE, "citus/reference.sql");
query!(REFERENCE_TABLES, "citus/reference_tables.txt");
query!(ADMIN_ADD_NODE, "citus/admin/add_node.sql");
query!(ADMIN_BACKEND_PID, "citus/admin/backend_pid.sql");
query!(ADMIN_CITUS_VERSION, "citus/admin/citus_version.sql");
query!(ADMIN_CLEANUP, "citus/admin/cleanup.sql");
query!(ADMIN_CLOCK, "citus/admin/clock.sql");
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
query!(ADMIN_LOCAL_SIZES, "citus/admin/local_sizes.sql");
query!(ADMIN_MOVE_SHARD, "citus/admin/move_shard.sql");
query!(ADMIN_LEFTOVERS, "citus/admin/leftovers.sql");
query!(ADMIN_MOVES, "citus/admin/moves.sql");
query!(ADMIN_NEWCOMER, "citus/admin/newcomer.sql");
query!(ADMIN_NODE_FACTS, "citus/admin/node_facts.sql");
query!(ADMIN_NODE_HEALTH, "citus/admin/node_health.sql");
query!(ADMIN_NODES, "citus/admin/nodes.sql");
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
query!(ADMIN_TENANT_NAMES, "citus/admin/tenant_names.sql");
query!(ADMIN_TENANTS_PER_GROUP, "citus/admin/tenants_per_group.sql");
query!(
    CLUSTER_DATABASE_SIZE,
    "sql/queries/cluster/database_size.sql"
);
query!(TENANT_COUNT, "sql/queries/tenant/count.sql");
