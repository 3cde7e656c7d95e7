-- customer/find_ids
-- $1 tenants of one shard, $2 ids, side by side.
select c.tenant_id, c.id, c.external_id, c.name, c.email, c.tax_id, c.address, c.country
from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, id)
join customers c on c.tenant_id = k.tenant_id and c.id = k.id
where c.tenant_id = any($1)
