-- invoice/find_external_ids
-- $1 tenant, $2 year, $3 external ids of a batch.
select tenant_id, id, year, external_id
from invoices
where tenant_id = $1 and year = $2 and external_id = any($3)
