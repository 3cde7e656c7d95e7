-- customer/delete
-- $1 tenant, $2 customer, $3 the version that was read.
delete from customers where tenant_id = $1 and id = $2 and version = $3
