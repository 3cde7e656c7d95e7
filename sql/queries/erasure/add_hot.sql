-- erasure/add_hot
-- $1 tenant, $2 customer, $3 invoices, $4 events, $5 now. With the change that it counts.
update erasures set hot_invoices = hot_invoices + $3, hot_events = hot_events + $4, changed_at = greatest(changed_at, $5)
where tenant_id = $1 and customer_id = $2
