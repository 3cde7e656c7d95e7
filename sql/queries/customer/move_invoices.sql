-- customer/move_invoices
-- $1 tenant, $2 year, $3 invoices, $4 survivor, $5-$10 its snapshot, $11 now. What was issued stays as it was issued;
-- only a draft shows the survivor.
update invoices
set customer_id = $4,
    customer_external_id = case when status = 'draft' then $5 else customer_external_id end,
    customer_name = case when status = 'draft' then $6 else customer_name end,
    customer_email = case when status = 'draft' then $7 else customer_email end,
    customer_tax_id = case when status = 'draft' then $8 else customer_tax_id end,
    customer_address = case when status = 'draft' then $9 else customer_address end,
    customer_country = case when status = 'draft' then $10 else customer_country end,
    version = version + 1,
    modified_at = $11
where tenant_id = $1 and year = $2 and id = any($3)
