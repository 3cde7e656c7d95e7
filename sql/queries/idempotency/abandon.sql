-- idempotency/abandon
-- $1 tenant, $2 key. A request without an answer leaves its key free.
delete from idempotency_keys where tenant_id = $1 and key = $2 and status is null
