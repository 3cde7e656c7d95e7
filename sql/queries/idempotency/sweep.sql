-- idempotency/sweep
-- $1 tenant, $2 keys, $3 time, $4 now. Looked at again: an upload may have begun with one of them.
delete from idempotency_keys
where tenant_id = $1 and key = any($2) and created_at < $3 and (locked_until is null or locked_until < $4)
