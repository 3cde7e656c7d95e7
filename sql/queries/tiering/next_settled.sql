-- tiering/next_settled
-- $1 tenant, $2 first id, $3 first id beyond. Settled: nothing can be owed on it any more.
select id
from invoices
where tenant_id = $1 and id >= $2 and id < $3 and status in ('paid', 'cancelled')
order by id
limit 1
