-- invoice/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
-- A profile_version of 0 is the one of now: a document is issued with what its own transaction reads in {profiles}, the tenant's
-- shard of tenant_profiles, and no round trip is spent on it.
insert into {table} (
    tenant_id, id, year, external_id, number, kind, status, currency, customer_id, customer_external_id,
    customer_name, customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date,
    subtotal, discount_total, tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata,
    version, created_at, modified_at, credits, discount, discount_percent, amount_credited, tax_rounding,
    profile_version, credited
)
select
    tenant_id, id, year, external_id, number, kind, status, currency, customer_id, customer_external_id,
    customer_name, customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date,
    subtotal, discount_total, tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata,
    version, created_at, modified_at, credits, discount, discount_percent, amount_credited, tax_rounding,
    case when profile_version = 0
         then (select now.version from {profiles} now where now.tenant_id = new.tenant_id)
         else profile_version end,
    credited
from (
    select
        unnest($1::uuid[]) as tenant_id, unnest($2::uuid[]) as id, unnest($3::smallint[]) as year,
        unnest($4::text[]) as external_id, unnest($5::text[]) as number, unnest($6::text[]) as kind,
        unnest($7::text[]) as status, unnest($8::text[]) as currency, unnest($9::uuid[]) as customer_id,
        unnest($10::text[]) as customer_external_id, unnest($11::text[]) as customer_name,
        unnest($12::text[]) as customer_email, unnest($13::text[]) as customer_tax_id,
        unnest($14::text[]) as customer_address, unnest($15::text[]) as customer_country,
        unnest($16::date[]) as issue_date, unnest($17::date[]) as due_date, unnest($18::numeric[]) as subtotal,
        unnest($19::numeric[]) as discount_total, unnest($20::numeric[]) as tax_total,
        unnest($21::numeric[]) as total, unnest($22::numeric[]) as amount_paid, unnest($23::numeric[]) as amount_due,
        unnest($24::integer[]) as line_count, unnest($25::integer[]) as payment_count,
        unnest($26::jsonb[]) as metadata, unnest($27::bigint[]) as version, unnest($28::timestamptz[]) as created_at,
        unnest($29::timestamptz[]) as modified_at, unnest($30::uuid[]) as credits,
        unnest($31::numeric[]) as discount, unnest($32::numeric[]) as discount_percent,
        unnest($33::numeric[]) as amount_credited, unnest($34::text[]) as tax_rounding,
        unnest($35::bigint[]) as profile_version, unnest($36::jsonb[]) as credited
) as new
