-- invoice/numbers_twice
-- $1 tenant, $2 a series' prefix, $3 limit. Numbers that begin so and are on several documents, whatever their years.
select number, array_agg(id order by id) as ids
from invoices
where tenant_id = $1 and starts_with(number, $2)
group by number
having count(*) > 1
order by number
limit $3
