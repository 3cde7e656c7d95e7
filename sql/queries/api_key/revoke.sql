-- api_key/revoke
-- $1 tenant, $2 key, $3 time. The first revocation's time stays.
update api_keys
set revoked_at = coalesce(revoked_at, $3)
where tenant_id = $1 and id = $2
returning id, tenant_id, name, role, prefix, created_at, revoked_at, expires_at, rotated_from
