-- customer/find_external_ids
-- $1 tenants of one shard, $2 external ids, side by side.
select c.tenant_id, c.id, c.external_id, c.name, c.email, c.tax_id, c.address, c.country
from unnest($1::uuid[], $2::text[]) as k (tenant_id, external_id)
join customers c on c.tenant_id = k.tenant_id and c.external_id = k.external_id
where c.tenant_id = any($1)
