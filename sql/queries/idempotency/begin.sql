-- idempotency/begin
-- $1 tenant, $2 key, $3 fingerprint, $4 lease end, $5 now by the caller's clock, $6 now by the clock of leases. Takes a new
-- key, or that of the same upload whose runner has died or stopped without an answer: its time stays that of its first use,
-- and so does what is kept of its progress.
insert into idempotency_keys (tenant_id, key, fingerprint, locked_until, created_at)
values ($1, $2, $3, $4, $5)
on conflict (tenant_id, key) do update
set locked_until = excluded.locked_until, fingerprint = excluded.fingerprint
where idempotency_keys.status is null and idempotency_keys.locked_until < $6
  and coalesce(idempotency_keys.fingerprint, excluded.fingerprint) = excluded.fingerprint
returning created_at, body
