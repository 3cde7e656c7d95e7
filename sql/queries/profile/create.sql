-- profile/create
-- The first one. Changes no row where somebody else was first.
insert into tenant_profiles (tenant_id, profile, version, modified_at)
values ($1, $2, 1, $3)
on conflict (tenant_id) do nothing
