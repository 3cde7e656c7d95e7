-- idempotency/sweep
-- $1 tenant, $2 time. Keys answer for a bounded time only.
delete from idempotency_keys where tenant_id = $1 and created_at < $2
