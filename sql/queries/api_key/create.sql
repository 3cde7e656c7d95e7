-- api_key/create
insert into api_keys (id, tenant_id, name, role, prefix, hash, created_at, expires_at, rotated_from)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
