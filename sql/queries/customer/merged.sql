-- customer/merged
-- $1 tenant, $2 survivor, $3 limit. Those that were merged into it.
select id from customers where tenant_id = $1 and merged_into = $2 order by id limit $3
