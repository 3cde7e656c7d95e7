-- customer/lock
-- $1 tenant, $2 customers. In the order of their ids, so that two merges wait for one another instead of deadlocking.
select tenant_id, id, external_id, name, email, tax_id, address, country, metadata, active, merged_into, version,
       created_at, coalesce(modified_at, created_at)
from customers
where tenant_id = $1 and id = any($2)
order by id
for update
