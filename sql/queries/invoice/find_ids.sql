-- invoice/find_ids
-- $1 tenants, $2 years, $3 ids of a batch. Pairs are matched by the caller: the lists cross.
select tenant_id, id, created_at
from invoices
where tenant_id = any($1) and year = any($2) and id = any($3)
