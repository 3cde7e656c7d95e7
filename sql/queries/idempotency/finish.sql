-- idempotency/finish
-- $1 tenant, $2 key, $3 fingerprint, $4 status, $5 location, $6 body.
update idempotency_keys
set fingerprint = $3, status = $4, location = $5, body = $6, locked_until = null
where tenant_id = $1 and key = $2 and status is null
