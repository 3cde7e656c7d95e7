-- cluster/table_sizes
-- Tables of this node with at least $1 rows, shards among them (the session has citus.override_table_visibility off), and their rows
-- as the statistics collector counts them. Not idempotency_keys: what Citus plans on it names one key, and there is one index for that.
select oid, pg_stat_get_live_tuples(oid)
from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace and relname not like 'idempotency\_keys%'
  and pg_stat_get_live_tuples(oid) >= $1
