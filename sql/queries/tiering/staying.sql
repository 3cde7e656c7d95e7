-- tiering/staying
-- $1 tenant, $2 year, $3 id before the first, $4 last id, $5 limit. Neighbours of the invoices that are gone.
select id
from invoices
where tenant_id = $1 and year = $2 and id > $3 and id <= $4
order by id
limit $5
