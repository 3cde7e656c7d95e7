-- customer/lock_invoices
-- $1 tenant, $2 customer, $3 limit. What a merge takes next.
select id, version from invoices where tenant_id = $1 and customer_id = $2 order by id limit $3 for update
