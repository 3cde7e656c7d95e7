-- idempotency/claim
-- $1 tenant, $2 key, $3 fingerprint, $4 now. A key that another transaction is just taking is waited for; no row where it is taken.
insert into idempotency_keys (tenant_id, key, fingerprint, created_at)
values ($1, $2, $3, $4)
on conflict (tenant_id, key) do nothing
