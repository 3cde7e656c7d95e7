-- erasure/get
-- $1 tenant, $2 customer.
select customer_id, requested_at, requested_by, hot_invoices, hot_events, cold_files, cold_files_rewritten, cold_invoices,
       held, pending, passed_at, completed_at, changed_at
from erasures
where tenant_id = $1 and customer_id = $2
