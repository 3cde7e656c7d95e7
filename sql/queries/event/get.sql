-- event/get
-- $1 tenant, $2 year, $3 invoices.
select tenant_id, subject_id, id, event_type, actor, request_id, data, created_at, correlation_id, causation_id
from events
where tenant_id = $1 and year = $2 and subject_id = any($3)
order by subject_id, id
