-- customer/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
insert into {table} (
    tenant_id, id, external_id, name, email, tax_id, address, country, created_at
)
select
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::timestamptz[])
