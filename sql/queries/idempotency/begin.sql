-- idempotency/begin
-- $1 tenant, $2 key, $3 lease end, $4 now. Takes a new key, or one whose runner has died without an answer.
insert into idempotency_keys (tenant_id, key, locked_until, created_at)
values ($1, $2, $3, $4)
on conflict (tenant_id, key) do update
set locked_until = excluded.locked_until
where idempotency_keys.status is null and idempotency_keys.locked_until < excluded.created_at
