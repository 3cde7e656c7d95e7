-- retention/put
-- $1 tenant, $2 year, $3 legal hold, $4 keep until, $5 the version that was read (0: none), $6 now. Changes nothing where
-- somebody else was faster.
insert into retention (tenant_id, year, legal_hold, keep_until, version, modified_at)
values ($1, $2, $3, $4, 1, $6)
on conflict (tenant_id, year) do update
set legal_hold = excluded.legal_hold, keep_until = excluded.keep_until, version = retention.version + 1,
    modified_at = excluded.modified_at
where retention.version = $5
