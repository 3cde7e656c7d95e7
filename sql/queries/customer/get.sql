-- customer/get
-- $1 tenant, $2 customer.
select tenant_id, id, external_id, name, email, tax_id, address, country, metadata, active, merged_into, version,
       created_at, coalesce(modified_at, created_at)
from customers
where tenant_id = $1 and id = $2
