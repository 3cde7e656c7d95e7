-- number_series/lock
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 series, $3 years. Held until the numbers taken
-- from it are committed or given back: no gap.
select year, prefix, padding, next
from {table}
where tenant_id = $1 and series = $2 and year = any($3)
order by year
for update
