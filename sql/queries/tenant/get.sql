-- tenant/get
select id, name, external_id, created_at from tenants where id = $1
