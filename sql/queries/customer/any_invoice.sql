-- customer/any_invoice
-- $1 tenant, $2 customer. Whether a hot invoice refers to it.
select id from invoices where tenant_id = $1 and customer_id = $2 order by id limit 1
