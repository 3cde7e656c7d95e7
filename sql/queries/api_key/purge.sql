-- api_key/purge
-- $1 tenant, $2 time. Keys that have opened nothing since then; what they did is in the events.
delete from api_keys
where tenant_id = $1 and least(revoked_at, expires_at) < $2
