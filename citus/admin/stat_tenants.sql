-- citus/admin/stat_tenants
-- What this very node has counted for tenants since the last period began (a period is a minute by default).
select tenant_attribute,
    (query_count_in_this_period + query_count_in_last_period)::bigint as queries,
    (read_count_in_this_period + read_count_in_last_period)::bigint as reads,
    ((cpu_usage_in_this_period + cpu_usage_in_last_period) * 1000)::bigint as cpu_ms,
    score
from citus_stat_tenants_local(false)
where colocation_id = (select colocationid from pg_dist_partition where logicalrelid = 'invoices'::regclass)
order by score desc
limit 10
