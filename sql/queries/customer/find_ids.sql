-- customer/find_ids
-- $1 tenant, $2 ids of a batch.
select tenant_id, id, external_id, name, email, tax_id, address, country, active, merged_into
from customers
where tenant_id = $1 and id = any($2)
