-- tenant/create_missing
-- $1 id, $2 external id, $3 time. Another upload may make the same tenant at the same time.
insert into tenants (id, name, external_id, created_at) values ($1, $2, $2, $3)
on conflict (external_id) do nothing
