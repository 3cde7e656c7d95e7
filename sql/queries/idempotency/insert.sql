-- idempotency/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
insert into {table} (
    tenant_id, key, fingerprint, status, location, body, created_at
)
select
    unnest($1::uuid[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::smallint[]), unnest($5::text[]),
    unnest($6::bytea[]), unnest($7::timestamptz[])
