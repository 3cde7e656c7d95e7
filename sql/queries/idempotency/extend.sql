-- idempotency/extend
-- $1 tenant, $2 key, $3 lease end.
update idempotency_keys set locked_until = $3 where tenant_id = $1 and key = $2 and status is null
