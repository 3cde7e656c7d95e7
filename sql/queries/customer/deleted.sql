-- customer/deleted
-- $1 tenant, $2 year, $3 customer. Whether its history says that it was deleted.
select 1 from events where tenant_id = $1 and year = $2 and subject_id = $3 and event_type = 'customer.deleted' limit 1
