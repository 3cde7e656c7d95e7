-- event/page
-- $1 tenant, $2 year, $3 invoice or customer, $4 last event told (or the nil id), $5 limit. Its history, oldest first.
select tenant_id, subject_id, id, event_type, actor, request_id, data, created_at, correlation_id, causation_id
from events
where tenant_id = $1 and year = $2 and subject_id = $3 and id > $4
order by id
limit $5
