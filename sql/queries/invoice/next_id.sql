-- invoice/next_id
-- $1 tenant, $2 first id. Where the hot tier goes on.
select id
from invoices
where tenant_id = $1 and id >= $2
order by id
limit 1
