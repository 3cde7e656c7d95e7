-- invoice/find_numbers
-- $1 tenants of one shard, $2 years, $3 numbers, side by side.
select i.tenant_id, i.id, i.year, i.number
from unnest($1::uuid[], $2::smallint[], $3::text[]) as k (tenant_id, year, number)
join invoices i on i.tenant_id = k.tenant_id and i.year = k.year and i.number = k.number
where i.tenant_id = any($1)
