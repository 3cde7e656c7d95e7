-- api_key/find
-- $1 SHA-256 of the keys: the one query that cannot name its tenant, because it finds it.
select id, tenant_id, name, role, prefix, created_at, revoked_at, expires_at, rotated_from, hash
from api_keys
where hash = any($1)
