-- line/delete
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 year, $3 invoice: a draft whose lines are replaced.
delete from {table} where tenant_id = $1 and year = $2 and invoice_id = $3
