-- line/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
insert into {table} (
    tenant_id, invoice_id, line_no, year, sku, description, quantity, unit_price, discount, tax_rate, net, tax,
    discount_percent, document_discount
)
select
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::integer[]), unnest($4::smallint[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::numeric[]), unnest($8::numeric[]), unnest($9::numeric[]),
    unnest($10::numeric[]), unnest($11::numeric[]), unnest($12::numeric[]),
    unnest($13::numeric[]), unnest($14::numeric[])
