-- number_claim/delete
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 number, $3 year of issue, $4 invoice. A draft
-- has given the number up, or is of another year now.
delete from {table} where tenant_id = $1 and number = $2 and issue_year = $3 and invoice_id = $4
