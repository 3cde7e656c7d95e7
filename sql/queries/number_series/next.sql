-- number_series/next
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 series, $3 year, $4 next.
update {table} set next = $4 where tenant_id = $1 and series = $2 and year = $3
