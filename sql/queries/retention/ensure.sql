-- retention/ensure
-- $1 tenant, $2 year, $3 now. A row to lock where nothing was set yet: version 0 is nobody's setting.
insert into retention (tenant_id, year, legal_hold, version, modified_at)
values ($1, $2, false, 0, $3)
on conflict (tenant_id, year) do nothing
