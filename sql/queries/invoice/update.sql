-- invoice/update
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 year, $3 id, $4 the version that was read.
-- The row is locked, so it must be there still, as it was read. Payment and event travel with it in the same transaction, and
-- so does the end of that: one that changed no row has to end all of it here, which a division by zero does.
with changed as (
    update {table}
    set external_id = $5, number = $6, kind = $7, status = $8, currency = $9, customer_id = $10,
        customer_external_id = $11, customer_name = $12, customer_email = $13, customer_tax_id = $14,
        customer_address = $15, customer_country = $16, issue_date = $17, due_date = $18, subtotal = $19,
        discount_total = $20, tax_total = $21, total = $22, amount_paid = $23, amount_due = $24, line_count = $25,
        payment_count = $26, metadata = $27, version = $28, modified_at = $29, discount = $30, discount_percent = $31,
        amount_credited = $32, tax_rounding = $33, profile_version = $34, credited = $35
    where tenant_id = $1 and year = $2 and id = $3 and version = $4
    returning 1
)
select 1 / count(*) from changed
