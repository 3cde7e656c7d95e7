-- cluster/rows
-- Rows of this node's tables, shards among them (the session has citus.override_table_visibility off), as the statistics collector
-- counts them.
select coalesce(sum(pg_stat_get_live_tuples(oid)), 0)::bigint
from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
