-- invoice/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
insert into {table} (
    tenant_id, id, year, external_id, number, kind, status, currency, customer_id, customer_external_id,
    customer_name, customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date,
    subtotal, discount_total, tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata,
    version, created_at, modified_at, credits, discount, discount_percent, amount_credited, tax_rounding,
    profile_version, credited
)
select
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::smallint[]), unnest($4::text[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::uuid[]), unnest($10::text[]),
    unnest($11::text[]), unnest($12::text[]), unnest($13::text[]), unnest($14::text[]), unnest($15::text[]),
    unnest($16::date[]), unnest($17::date[]), unnest($18::numeric[]), unnest($19::numeric[]),
    unnest($20::numeric[]), unnest($21::numeric[]), unnest($22::numeric[]), unnest($23::numeric[]),
    unnest($24::integer[]), unnest($25::integer[]), unnest($26::jsonb[]), unnest($27::bigint[]),
    unnest($28::timestamptz[]), unnest($29::timestamptz[]), unnest($30::uuid[]), unnest($31::numeric[]),
    unnest($32::numeric[]), unnest($33::numeric[]), unnest($34::text[]), unnest($35::bigint[]), unnest($36::jsonb[])
