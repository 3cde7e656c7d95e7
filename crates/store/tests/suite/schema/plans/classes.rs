//! How each query is to be planned.

use Class::{Apart, Insert, Platform, Point, Range};

/// What a query is, with literals for its parameters. In these `{name}` is a member of `Sample`.
pub(super) enum Class {
    /// A tenant's rows by key: one task on the owner, and each index is entered with this column.
    Point(&'static str, &'static str),
    /// Rows of a tenant that no key names: one task on the owner.
    Range(&'static str),
    /// Of the platform, in a reference table: any node answers from its own copy.
    Platform(&'static str),
    /// Works on the tenant's shard by its name, on the owner: Citus plans nothing.
    Insert,
    /// Cannot be explained, or touches no table of a tenant; and why.
    Apart(&'static str),
}

const COPY: &str = "COPY has no plan; it is routed by the writer";
const DDL: &str = "DDL has no plan";
const LOCK: &str = "a lock without a table";
const SCHEMA: &str = "asks the node's own catalogs";

pub(super) fn class(name: &str) -> Option<Class> {
    Some(match name {
        "api_key/count" => Platform("{tenant}"),
        "api_key/list" => Platform("{tenant}, 10"),
        "api_key/create" => {
            Platform("{uuid}, {tenant}, 'n', 'admin', 'p', '\\x00', now(), null, null")
        }
        "api_key/expire" => Platform("{tenant}, {uuid}, now(), now()"),
        "api_key/get" => Platform("{tenant}, {uuid}"),
        "api_key/purge" => Platform("{tenant}, now()"),
        "api_key/find" => Platform("array['\\x00']::bytea[]"),
        "api_key/revoke" => Platform("{tenant}, {uuid}, now()"),
        "job_run/list" => Platform(""),
        "job_run/record" => Platform("'tier', now(), 1, 0"),
        "tenant/create" => Platform("{uuid}, 'n', null, now()"),
        "tenant/create_missing" => Platform("{uuid}, 'n', now()"),
        "tenant/find_external_ids" => Platform("'{a,b}'"),
        "tenant/count" => Platform(""),
        "tenant/get" => Platform("{tenant}"),
        "tenant/list" | "tenant/page_ascending" => Platform("null, 10"),

        "archive_file/before" => Range("{tenant}, {uuid}, 10"),
        "archive_file/between" => Range("{tenant}, {uuid}, {uuid}, 10"),
        // All of a tenant's: its catalog is small.
        "archive_file/count" => Range("{tenant}"),
        "archive_file/next" => Range("{tenant}, {uuid}"),
        "archive_file/for_id" => Point("{tenant}, '{1980-05,1980-00}', {file_id}", "period"),
        "archive_file/forget" => Point("{tenant}, '1980-05', 0, 1, true", "period"),
        "archive_file/mark_garbage" => Point("{tenant}, '1980-05', 0, 1", "period"),
        "archive_file/retire" => Point("{tenant}, '1980-05', 0, 1, now()", "period"),
        "archive_file/note_deletion" => Point("{tenant}, '1980-05', 0, 1, null", "period"),
        "archive_file/deleting" => Range("{tenant}, 1980::smallint, now()"),
        "archive_file/later" => Range("{tenant}, '1980-00', '1980-12', 1"),
        "archive_file/list" => Point(
            "{tenant}, '{published,staged}', '1980-05', 0, 1, 10",
            "period",
        ),
        "archive_file/next_generation" => Point("{tenant}, '1980-00', '1980-12'", "period"),
        "archive_file/next_part" => Point("{tenant}, '1980-05'", "period"),
        // A tenant has twelve files a year or some more: no index by year pays for itself.
        "archive_file/of_years" => Range("{tenant}, '{1980,1981}'"),
        "archive_file/publish" => Point(
            "{tenant}, '1980-05', 0, 1, {uuid}, {uuid}, 1, 1, 1, 1, 1, 1, '\\x00', '{}', now(), \
            '\\x00', '{}'",
            "period",
        ),
        "archive_file/stage" => Range("{tenant}, '1980-05', 7, 1, 1980, 'k', 1, now()"),

        "archive_file/describe_numbers" => Point("{tenant}, '1980-05', 0, 1, '{}'", "period"),
        "archive_file/with_numbers" => Range("{tenant}, 'R-', 1, 100, 1000, '{k}', 10"),
        "archive_file/hold" => Point("{tenant}, '1980-05', 0, 1", "period"),
        "archive_file/hold_all" => Point("{tenant}, '{1980-05}', '{k}'", "period"),
        "archive_file/supersede" => Point("{tenant}, '1980-05', 0, 1, now()", "period"),
        "archive_recall/any" => Range("{tenant}"),
        // gc alone asks it, with a plan made for its tenant; one for any tenant has a task for each
        // shard of the node.
        "archive_recall/forget" => Apart("never prepared: only a custom plan is of one shard"),
        "archive_recall/latest" => Range("{tenant}, {year}"),
        "archive_recall/of_file" => {
            Point("{tenant}, {year}, {uuid}, {uuid}, now(), 10", "invoice_id")
        }
        "archive_recall/of_id" => Point("{tenant}, {year}, {uuid}", "invoice_id"),
        "event/feed" => Point("{tenant}, now(), {uuid}, now(), 10", "recorded_at"),
        "event/horizon" => Apart(SCHEMA),
        "event/page" => Point("{tenant}, {year}, {uuid}, {uuid}, 10", "subject_id"),
        "event/weight" => Point("{tenant}, {year}, {uuid}", "subject_id"),
        "number_series/list" => Range("{tenant}"),
        "number_series/set" => Range("{tenant}, 'invoice', 0::smallint, 'p', 6::smallint, 1"),
        "archive_file/any_published" => Range("{tenant}"),
        "customer/create" => {
            Range("{tenant}, {uuid}, 'new', 'n', null, null, null, null, '{}', true, now()")
        }
        "customer/get" => Point("{tenant}, {customer}", "id"),
        "customer/lock" => Point("{tenant}, {customer_ids}", "id"),
        "customer/list" => Point("{tenant}, {uuid}, 10", "id"),
        "customer/update" => Point(
            "{tenant}, {customer}, 1, 'new', 'n', null, null, null, null, '{}', true, now()",
            "id",
        ),
        "customer/delete" => Point("{tenant}, {customer}, 1", "id"),
        "customer/deleted" => Point("{tenant}, {year}, {customer}", "subject_id"),
        "customer/merged" => Point("{tenant}, {customer}, 10", "merged_into"),
        "customer/set_merged" => Point("{tenant}, {customer}, {uuid}, now()", "id"),
        "customer/any_invoice" => Range("{tenant}, {customer}"),
        "customer/lock_invoices" => Point("{tenant}, {customer}, 10", "customer_id"),
        "customer/move_invoices" => Point(
            "{tenant}, {year}, {ids}, {customer}, 'e', 'n', null, null, null, null, now()",
            "id",
        ),
        "report/aging" => Range("{tenant}, '2025-06-01'"),
        "report/aging_customers" => Range("{tenant}, '2025-06-01', {customer}, 'EUR', 10"),
        "report/aging_nobody" => Range("{tenant}, '2025-06-01', 'EUR', 10"),
        "report/balance" => Range("{tenant}, {customer_ids}, '2025-06-01'"),
        // A payment's currency is its invoice's: the one join, within a shard.
        "report/paid" => Range("{tenant}, '2025-05-01', '2025-06-01', null, null"),
        "report/settings" => Apart("settings have no plan"),
        "report/summary" => Range("{tenant}, '2025-06-01', '2025-05-01', null, null"),
        "customer/find_external_ids" => Point("{tenant}, {customer_keys}", "external_id"),
        "customer/find_ids" => Point("{tenant}, {customer_ids}", "id"),
        "event/record" => Range(
            "{tenant}, {uuid}, {uuid}, {year}::smallint, 't', 'a', 'r', '{}', now(), null, null",
        ),
        "event/between" => Range("{tenant}, {year}, {uuid}, {uuid}"),
        "line/between" | "payment/between" => Range("{tenant}, {year}, {uuid}, {uuid}"),
        "event/get" => Point("{tenant}, {year}, {ids}", "subject_id"),
        "idempotency/abandon" | "idempotency/get" => Point("{tenant}, 'key-7'", "key"),
        "idempotency/begin" => Range("{tenant}, 'new', '\\x00', now(), now(), now()"),
        "idempotency/claim" => Range("{tenant}, 'new', '\\x00', now()"),
        "idempotency/extend" => Point("{tenant}, 'key-7', now()", "key"),
        "idempotency/find" => Point("{tenant}, '{key-7,key-8}'", "key"),
        "idempotency/finish" => Point(
            "{tenant}, 'key-7', '\\x00', 200::smallint, null, '\\x00'",
            "key",
        ),
        "idempotency/progress" => Point("{tenant}, 'key-7', '\\x00'", "key"),
        "idempotency/old" => Range("{tenant}, now(), now(), 100"),
        "idempotency/sweep" => Point("{tenant}, '{key-7,key-8}', now(), now()", "key"),
        "invoice/find_external_ids" => Point("{tenant}, {year}, {external_ids}", "external_id"),
        "invoice/find_ids" => Point("{tenant}, {year}, {ids}", "id"),
        "invoice/get" => Point("{tenant}, {year}, {ids}, {first_id}, {last_id}", "id"),
        "invoice/find_numbers" => Point("{tenant}, {year}, {numbers}", "number"),
        "invoice/find_numbers_of_all_years" => Point("{tenant}, {numbers}", "number"),
        "number_claim/find" => Point("{tenant}, {year}, {numbers}", "number"),
        "number_claim/collisions" => {
            Apart("a join: planned for its parameters, or on the shard's own tables")
        }
        "number_claim/page" => Range("{tenant}, 'n-1', 2025::smallint, 10"),
        "invoice/numbered" => Range("{tenant}, {uuid}, 10"),
        "invoice/numbers_twice" => Range("{tenant}, 'n-', 10"),
        "number_claim/lock" => Range("{tenant}, 1, true"),
        "invoice/list" => Point(
            "{tenant}, {uuid}, 10, null, null, null, null, null, null, null",
            "id",
        ),
        "invoice/next_id" => Range("{tenant}, {uuid}"),
        "invoice/read_period" => Range("{tenant}, {year}, {uuid}, {uuid}, 10"),
        "archive_recall/of_tenant" => Range("{tenant}, {uuid}, 10"),
        "line/get" | "payment/get" => Point(
            "{tenant}, {year}, {ids}, {first_id}, {last_id}",
            "invoice_id",
        ),

        "customer/erase" => Point("{tenant}, {uuid}, 'n', now()", "id"),
        "customer/erase_history" => Point("{tenant}, {year}, {uuid}", "subject_id"),
        "customer/erase_invoices" => Point("{tenant}, {year}, {ids}, 'n', now()", "id"),
        "customer/held_years" => Range("{tenant}, {uuid}, '{1980}'"),
        "customer/lock_personal" => Range("{tenant}, {uuid}, '{}', 'n', 10"),
        "erasure/add_hot" => Point("{tenant}, {uuid}, 1, 1, now()", "customer_id"),
        "erasure/count_open" => Range("{tenant}"),
        "erasure/get" => Point("{tenant}, {uuid}", "customer_id"),
        "erasure/open" => Range("{tenant}, {uuid}, 10"),
        "erasure/pass" => Range("{tenant}, {uuid}, now(), 1, 1, 1, '[]', '[]', now(), true, now()"),
        "erasure/request" => Range("{tenant}, {uuid}, now(), 'a'"),
        "event/erase" => Point("{tenant}, {year}, {uuid}, {uuid}, '{}'", "subject_id"),
        "event/naming" => Range("{tenant}, '{}', {uuid}, '{}', 10"),
        "invoice/lock_owners" => Point("{tenant}, {year}, {ids}", "id"),
        "invoice/touch" => Point("{tenant}, {year}, {ids}, now()", "id"),
        "metadata_columns/get" | "metadata_columns/lock" => Point("{tenant}", "tenant_id"),
        "metadata_columns/put" => Range("{tenant}, '{}', 0, now()"),
        "retention/ensure" => Range("{tenant}, 2020::smallint, now()"),
        "retention/share" => Point("{tenant}, 2020::smallint", "year"),
        "retention/list" => Range("{tenant}"),
        "retention/lock" => Point("{tenant}, 2020::smallint", "year"),
        "retention/put" => Range("{tenant}, 2020::smallint, false, null, 0, now()"),

        "profile/keep_versions" => Apart("`sheaf migrate` runs it over all tenants"),
        "profile/create" => Range("{tenant}, '{}', now()"),
        "profile/get" | "profile/lock" | "profile/version" => Point("{tenant}", "tenant_id"),
        "profile/keep" => Range("{tenant}, 1, '{}', now()"),
        "profile/of_document" => Point("{tenant}, 1", "tenant_id"),
        "profile/update" => Point("{tenant}, '{}', now()", "tenant_id"),

        "tiering/count_unsettled" => Range("{tenant}, {uuid}"),
        "tiering/delete_events" => Point("{tenant}, {year}, {ids}", "subject_id"),
        "tiering/delete_invoice_lines" | "tiering/delete_payments" => {
            Range("{tenant}, {year}, {uuid}, {uuid}, '{}'")
        }
        "tiering/delete_invoices" => Point("{tenant}, {year}, {ids}", "id"),
        "tiering/staying" => Range("{tenant}, {year}, {uuid}, {uuid}, 10"),
        "tiering/next_settled" => Range("{tenant}, {uuid}, {uuid}"),

        "customer/copy" | "event/copy" | "idempotency/copy" | "invoice/copy" | "line/copy"
        | "number_claim/copy" | "payment/copy" => Apart(COPY),
        "customer/insert"
        | "event/insert"
        | "idempotency/insert"
        | "invoice/insert"
        | "line/insert"
        | "payment/insert"
        | "archive_recall/record"
        | "event/restore"
        | "invoice/update"
        | "line/delete"
        | "number_claim/delete"
        | "number_claim/insert"
        | "number_series/ensure"
        | "number_series/lock"
        | "number_series/next" => Insert,
        "cluster/advisory_lock"
        | "cluster/advisory_unlock"
        | "cluster/advisory_xact_lock"
        | "cluster/hold_shards"
        | "cluster/lock_numbers"
        | "cluster/patience"
        | "cluster/sequential"
        | "cluster/try_advisory_lock"
        | "cluster/try_advisory_lock_shared" => Apart(LOCK),
        "cluster/has_citus"
        | "cluster/database_size"
        | "cluster/rows"
        | "cluster/has_history"
        | "cluster/read_only"
        | "cluster/schema_version"
        | "cluster/undistributed"
        | "number_claim/is_entered"
        | "partition/list"
        | "partition/tables"
        | "role/exists"
        | "role/sees_activity" => Apart(SCHEMA),
        "number_claim/entered"
        | "partition/detach"
        | "partition/drop"
        | "partition/early"
        | "partition/function"
        | "partition/make"
        | "role/create"
        | "role/grant"
        | "role/grant_function"
        | "role/keep_events"
        | "role/see_activity" => Apart(DDL),
        "partition/empty" => Apart("asks every shard, under the lock of a rare DROP"),
        _ => return None,
    })
}
