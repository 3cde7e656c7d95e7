-- report/settings
-- For the transaction of a report. What suits probes by key (crates/cluster/src/node.rs) does not suit a report, which reads
-- many rows and groups them in memory (docs/decisions/0011-reports.md). Planned for its parameters, without which Citus does
-- not plan a join at all.
set local statement_timeout = '10s';
set local cpu_tuple_cost = 0.01;
set local enable_sort = off;
set local max_parallel_workers_per_gather = 2;
set local plan_cache_mode = force_custom_plan
