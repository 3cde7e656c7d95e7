-- api_key/list
-- $1 tenant, $2 limit.
select id, tenant_id, name, role, prefix, created_at, revoked_at, expires_at, rotated_from
from api_keys
where tenant_id = $1
order by id desc
limit $2
