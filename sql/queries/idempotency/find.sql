-- idempotency/find
-- $1 tenant, $2 keys of a batch.
select tenant_id, key, fingerprint, status, location, body
from idempotency_keys
where tenant_id = $1 and key = any($2)
