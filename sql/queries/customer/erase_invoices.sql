-- customer/erase_invoices
-- $1 tenant, $2 year, $3 invoices, $4 what stands for the name, $5 now. The country stays: taxes depend on it.
update invoices
set customer_external_id = null, customer_name = $4, customer_email = null, customer_tax_id = null,
    customer_address = null, version = version + 1, modified_at = $5
where tenant_id = $1 and year = $2 and id = any($3)
