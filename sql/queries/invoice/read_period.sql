-- invoice/read_period
-- $1 tenant, $2 year, $3 last id read (or the first of the period), $4 first id beyond, $5 limit.
select tenant_id, id, external_id, number, kind, status, currency, customer_id, customer_external_id, customer_name,
       customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date, subtotal,
       discount_total, tax_total, total, amount_paid, amount_due, metadata, version, created_at, modified_at,
       line_count, payment_count, credits, discount, discount_percent, amount_credited, tax_rounding,
       profile_version, credited
from invoices
where tenant_id = $1 and year = $2 and id > $3 and id < $4
order by id
limit $5
