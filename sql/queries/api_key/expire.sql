-- api_key/expire
-- $1 tenant, $2 key, $3 end, $4 now. A key that works ends then, or when it would have anyway.
update api_keys
set expires_at = least(expires_at, $3)
where tenant_id = $1 and id = $2 and revoked_at is null and (expires_at is null or expires_at > $4)
returning id, tenant_id, name, role, prefix, created_at, revoked_at, expires_at, rotated_from
