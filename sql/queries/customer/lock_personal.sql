-- customer/lock_personal
-- $1 tenant, $2 customer, $3 years that are left alone, $4 what stands for an erased name, $5 limit. Its hot invoices
-- that still show who it is.
select id, version, customer_id
from invoices
where tenant_id = $1 and customer_id = $2 and year <> all($3::smallint[])
    and (customer_name <> $4 or customer_external_id is not null or customer_email is not null
        or customer_tax_id is not null or customer_address is not null)
order by id
limit $5
for update
