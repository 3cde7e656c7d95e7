-- number_series/lock
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 series, $3 years. Held until the numbers taken
-- from it are committed or given back: no gap. All series of the tenant, in one order: two that have one prefix count
-- one after the other.
select series, year, prefix, padding, next
from {table}
where tenant_id = $1 and series = any($2) and year = any($3)
order by series, year
for update
