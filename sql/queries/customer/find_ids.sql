-- customer/find_ids
-- $1 tenants, $2 ids of a batch.
select tenant_id, id, external_id, name, email, tax_id, address, country
from customers
where tenant_id = any($1) and id = any($2)
