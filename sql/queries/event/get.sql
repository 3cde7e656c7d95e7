-- event/get
-- $1 tenants of one shard, $2 years, $3 invoices.
select tenant_id, subject_id, id, event_type, actor, request_id, data, created_at
from events
where tenant_id = any($1) and year = any($2) and subject_id = any($3)
order by tenant_id, subject_id, id
