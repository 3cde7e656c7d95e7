-- invoice/get
-- $1 tenants, $2 years, $3 ids. The tenants are of one shard, so that the statement is planned as one task.
select tenant_id, id, external_id, number, kind, status, currency, customer_id, customer_external_id, customer_name,
       customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date, subtotal,
       discount_total, tax_total, total, amount_paid, amount_due, metadata, version, created_at, modified_at,
       line_count, payment_count
from invoices
where tenant_id = any($1) and year = any($2) and id = any($3)
