-- customer/update
-- $1 tenant, $2 customer, $3 the version that was read, $4-$11 the fields, $12 now. Changes nothing where somebody else
-- was faster.
update customers
set external_id = $4, name = $5, email = $6, tax_id = $7, address = $8, country = $9, metadata = $10, active = $11,
    version = version + 1, modified_at = $12
where tenant_id = $1 and id = $2 and version = $3
