-- invoice/get
-- $1 tenant, $2 year, $3 ids, $4 the first of them, $5 the last. tenant_id = $1 on a single table is what Citus plans fast
-- (docs/decisions/0004-batched-keys.md).
select tenant_id, id, external_id, number, kind, status, currency, customer_id, customer_external_id, customer_name,
       customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date, subtotal,
       discount_total, tax_total, total, amount_paid, amount_due, metadata, version, created_at, modified_at,
       line_count, payment_count, credits, discount, discount_percent, amount_credited, tax_rounding,
       profile_version, credited
from invoices
where tenant_id = $1 and year = $2 and id = any($3) and (id, year) >= ($4, $2) and (id, year) <= ($5, $2)
