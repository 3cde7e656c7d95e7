-- invoice/find_numbers
-- $1 tenant, $2 year, $3 numbers of a batch.
select tenant_id, id, year, number
from invoices
where tenant_id = $1 and year = $2 and number = any($3)
