-- idempotency/copy
copy idempotency_keys (tenant_id, key, fingerprint, status, location, body, created_at) from stdin (format binary)
