-- cluster/undistributed
-- $1 tables. Those that Citus, which is there, does not know.
select string_agg(name, ', ' order by name)
from unnest($1::text[]) as name
where not exists (select 1 from pg_dist_partition where logicalrelid = to_regclass(name))
