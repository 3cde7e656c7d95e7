-- idempotency/find
-- $1 tenants of one shard, $2 keys, side by side.
select i.tenant_id, i.key, i.fingerprint, i.status, i.location, i.body
from unnest($1::uuid[], $2::text[]) as k (tenant_id, key)
join idempotency_keys i on i.tenant_id = k.tenant_id and i.key = k.key
where i.tenant_id = any($1)
