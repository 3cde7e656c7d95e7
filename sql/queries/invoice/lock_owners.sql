-- invoice/lock_owners
-- $1 tenant, $2 year, $3 invoices. Whose they are now.
select id, version, customer_id from invoices where tenant_id = $1 and year = $2 and id = any($3) order by id for update
