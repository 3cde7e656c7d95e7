-- idempotency/store
-- The answer of a request whose change commits in the same transaction.
insert into idempotency_keys (tenant_id, key, fingerprint, status, location, body, created_at)
values ($1, $2, $3, $4, $5, $6, $7)
