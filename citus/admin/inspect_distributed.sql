-- citus/admin/inspect_distributed
-- Which of the tables Citus does not know.
select coalesce(array_agg(name order by name), '{}') as missing
from unnest($1::text[]) name
where not exists (select from pg_dist_partition where logicalrelid = to_regclass(name))
