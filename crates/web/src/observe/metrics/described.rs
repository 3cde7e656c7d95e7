//! What each metric means, as `/metrics` says it.

use metrics::{describe_counter, describe_gauge, describe_histogram};

const COUNTERS: [(&str, &str); 29] = [
    (
        "sheaf_http_requests_total",
        "Requests answered, by route, method and status",
    ),
    (
        "sheaf_denials_total",
        "Requests answered 401 or 403, by code and by whether the credential names a known tenant",
    ),
    (
        "sheaf_credentials_turned_away_total",
        "Credentials that were not looked at: their client address had sent too many wrong ones",
    ),
    (
        "sheaf_denial_events_total",
        "access.denied events written; each counts the denials of one window",
    ),
    (
        "sheaf_denials_dropped_total",
        "Denials of known tenants that became no event: too many at once, or the database away",
    ),
    (
        "sheaf_jwks_failures_total",
        "Readings of the JWK set that failed; the last good set stays",
    ),
    (
        "sheaf_panics_total",
        "Panics that were caught, by task; each is a bug, and cost one request or one round of \
         the task",
    ),
    (
        "sheaf_bulk_lines_total",
        "Lines of bulk uploads, by outcome",
    ),
    (
        "sheaf_share_refused_total",
        "Requests refused because a share was taken, by kind and by whose: the tenant's or \
         everybody's",
    ),
    (
        "sheaf_own_lanes_total",
        "Tenants given a lane of their own because their work waits for locked rows, by kind of \
         queue",
    ),
    (
        "sheaf_flush_fallback_total",
        "Batches that were taken apart because a member of them failed or waited",
    ),
    (
        "sheaf_flush_retry_total",
        "Batches that were tried again, by kind of queue",
    ),
    (
        "sheaf_cold_gets_total",
        "Ranged GETs that were answered, by kind of read",
    ),
    ("sheaf_cold_bytes_total", "Bytes of these, by kind of read"),
    (
        "sheaf_cold_footer_hits_total",
        "Footers found in the cache, by kind of read",
    ),
    (
        "sheaf_cold_footer_misses_total",
        "Footers that had to be read, by kind of read",
    ),
    (
        "sheaf_cold_retries_total",
        "Attempts on the storage after one that was throttled, failed, was late or came short, by \
         kind of read",
    ),
    (
        "sheaf_cold_hedges_total",
        "Second GETs beside a slow one, by kind of read",
    ),
    (
        "sheaf_cold_failures_total",
        "Operations on the storage that were given up, by kind of read",
    ),
    (
        "sheaf_cold_damaged_total",
        "Pieces of objects that differed from their checksum, by kind of read",
    ),
    (
        "sheaf_tiering_runs_total",
        "Tiering runs of this process, by outcome",
    ),
    (
        "sheaf_tiering_invoices_total",
        "Invoices that this process moved into the archive",
    ),
    (
        "sheaf_tiering_bytes_total",
        "Bytes of the objects that this process moved them into",
    ),
    (
        "sheaf_tiering_changed_total",
        "Parts that were given up because an invoice in them changed while they were written",
    ),
    (
        "sheaf_compaction_runs_total",
        "Compaction runs of this process, by outcome",
    ),
    (
        "sheaf_compaction_files_total",
        "Files that this process replaced",
    ),
    (
        "sheaf_compaction_bytes_total",
        "Bytes of the files in their place",
    ),
    ("sheaf_export_bytes_total", "Bytes of exports"),
    (
        "sheaf_trace_spans_total",
        "Spans that the collector of traces took, or that were lost, by outcome",
    ),
];

const GAUGES: [(&str, &str); 27] = [
    (
        "sheaf_build_info",
        "Always 1; version and revision of the program",
    ),
    ("sheaf_http_requests_in_flight", "Requests being worked on"),
    ("sheaf_http_connections", "Open connections"),
    (
        "sheaf_queue_waiting",
        "Jobs that wait, by kind of queue and node",
    ),
    (
        "sheaf_queue_oldest_seconds",
        "Age of the job that waits longest, by kind of queue and node",
    ),
    (
        "sheaf_queue_running_seconds",
        "Age of the batch that runs longest, by kind of queue and node",
    ),
    (
        "sheaf_pool_connections",
        "Connections of this process to a node, by whether they are in use or idle",
    ),
    (
        "sheaf_pool_connections_max",
        "Connections to a node that this process may have",
    ),
    ("sheaf_pool_waiting", "Who waits for a connection to a node"),
    (
        "sheaf_nodes_known",
        "Nodes of the cluster that this process works with",
    ),
    ("sheaf_nodes_up", "Those of them that answered this process"),
    (
        "sheaf_node_up",
        "Whether the node answered this process; NaN once it has left the cluster",
    ),
    ("sheaf_tenants", "Tenants"),
    (
        "sheaf_archive_files",
        "Files of the archive's catalog, by state",
    ),
    (
        "sheaf_archive_bytes",
        "Bytes of these, by state; not known of staged ones",
    ),
    (
        "sheaf_archive_oldest_age_seconds",
        "For how long the oldest file has been staged or superseded; 0 where there is none",
    ),
    ("sheaf_erasures_open", "Erasures that are not complete"),
    (
        "sheaf_erasures_oldest_age_seconds",
        "For how long the oldest of them has been asked for; 0 where there is none",
    ),
    (
        "sheaf_tiering_waiting_tenants",
        "Tenants with settled invoices that are old enough for the archive",
    ),
    (
        "sheaf_tiering_oldest_month_timestamp_seconds",
        "Begin of the oldest month with such invoices; where there are none, the horizon",
    ),
    (
        "sheaf_tiering_horizon_timestamp_seconds",
        "Begin of the first month that stays hot",
    ),
    (
        "sheaf_job_last_success_timestamp_seconds",
        "End of the last run of a job over all tenants in which nothing failed; 0: never",
    ),
    (
        "sheaf_job_last_end_timestamp_seconds",
        "End of the last run of a job over all tenants; 0: never",
    ),
    (
        "sheaf_job_last_failures",
        "What failed in the last run of a job over all tenants",
    ),
    (
        "sheaf_job_last_duration_seconds",
        "How long the last run of a job over all tenants took",
    ),
    (
        "sheaf_figures_timestamp_seconds",
        "When the figures of archive, tiering and erasures were last complete",
    ),
    (
        "sheaf_figures_unread_tenants",
        "Tenants that are not in these figures, since their node did not answer",
    ),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    (
        "sheaf_http_request_duration_seconds",
        "Time to the answer's head, by route and method",
    ),
    ("sheaf_flush_invoices", "Creates of a batch"),
    ("sheaf_change_batch", "Changes of a batch"),
    ("sheaf_read_batch", "Point reads of a batch"),
];

const WITHOUT_LABELS: [&str; 4] = [
    "sheaf_credentials_turned_away_total",
    "sheaf_denial_events_total",
    "sheaf_denials_dropped_total",
    "sheaf_jwks_failures_total",
];

pub(super) fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, meaning);
    }
    // What first appears as 1 has never risen, to whoever watches. Those with labels begin where
    // these are known.
    for name in WITHOUT_LABELS {
        metrics::counter!(name).increment(0);
    }
    for (name, meaning) in GAUGES {
        describe_gauge!(name, meaning);
    }
    for (name, meaning) in HISTOGRAMS {
        describe_histogram!(name, meaning);
    }
}
