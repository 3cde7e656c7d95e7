-- event/between
-- $1 tenant, $2 year, $3 id before the first, $4 last id: of neighbours, which a list of ids would have looked up one by one.
select tenant_id, subject_id, id, event_type, actor, request_id, data, created_at, correlation_id, causation_id
from events
where tenant_id = $1 and year = $2 and subject_id > $3 and subject_id <= $4
order by subject_id, id
