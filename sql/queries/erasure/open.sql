-- erasure/open
-- $1 tenant, $2 last one told (or the nil id), $3 limit. Those that are not complete.
select customer_id, requested_at, requested_by, hot_invoices, hot_events, cold_files, cold_files_rewritten, cold_invoices,
       held, pending, passed_at, completed_at, changed_at
from erasures
where tenant_id = $1 and completed_at is null and customer_id > $2
order by customer_id
limit $3
