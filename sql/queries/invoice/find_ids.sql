-- invoice/find_ids
-- $1 tenant, $2 years, $3 ids of a batch.
select tenant_id, id, created_at
from invoices
where tenant_id = $1 and year = any($2) and id = any($3)
