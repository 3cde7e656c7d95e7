-- invoice/find_ids
-- $1 tenant, $2 year, $3 ids of a batch.
select tenant_id, id, created_at
from invoices
where tenant_id = $1 and year = $2 and id = any($3)
