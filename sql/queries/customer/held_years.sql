-- customer/held_years
-- $1 tenant, $2 customer, $3 years. Those of them that have hot invoices of the customer.
select distinct year from invoices where tenant_id = $1 and customer_id = $2 and year = any($3::smallint[])
