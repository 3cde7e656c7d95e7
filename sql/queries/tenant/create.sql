-- tenant/create
insert into tenants (id, name, external_id, created_at) values ($1, $2, $3, $4)
