-- idempotency/old
-- $1 tenant, $2 time, $3 now, $4 limit. Keys answer for a bounded time only; that of an upload that runs stays.
select key
from idempotency_keys
where tenant_id = $1 and created_at < $2 and (locked_until is null or locked_until < $3)
limit $4
