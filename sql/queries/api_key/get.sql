-- api_key/get
select id, tenant_id, name, role, prefix, created_at, revoked_at, expires_at, rotated_from from api_keys where tenant_id = $1 and id = $2
