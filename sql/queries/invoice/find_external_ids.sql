-- invoice/find_external_ids
-- $1 tenants of one shard, $2 years, $3 external_ids, side by side.
select i.tenant_id, i.id, i.year, i.external_id
from unnest($1::uuid[], $2::smallint[], $3::text[]) as k (tenant_id, year, external_id)
join invoices i on i.tenant_id = k.tenant_id and i.year = k.year and i.external_id = k.external_id
where i.tenant_id = any($1)
