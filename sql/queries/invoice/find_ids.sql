-- invoice/find_ids
-- $1 tenants of one shard, $2 years, $3 ids, side by side: each probe meets one partition and one index
-- entry, where lists that cross would probe every pair. tenant_id = any($1) lets Citus plan one task.
select i.tenant_id, i.id, i.created_at
from unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k (tenant_id, year, id)
join invoices i on i.tenant_id = k.tenant_id and i.year = k.year and i.id = k.id
where i.tenant_id = any($1)
