-- idempotency/get
select fingerprint, status, location, body from idempotency_keys where tenant_id = $1 and key = $2
