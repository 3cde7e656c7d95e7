-- citus/admin/stat_tenants
-- What this very node has counted for tenants since the last period began (a period is a minute by default). Citus
-- forgets a quiet tenant only when it needs the place.
select tenant_attribute,
    (query_count_in_this_period + query_count_in_last_period)::bigint as queries,
    (read_count_in_this_period + read_count_in_last_period)::bigint as reads,
    ((cpu_usage_in_this_period + cpu_usage_in_last_period) * 1000)::bigint as cpu_ms
from citus_stat_tenants_local(false)
where colocation_id = (select colocationid from pg_dist_partition where logicalrelid = 'invoices'::regclass)
    and query_count_in_this_period + query_count_in_last_period > 0
order by cpu_ms desc, queries desc
limit 10
