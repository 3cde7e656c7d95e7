-- event/feed
-- $1 tenant, $2 and $3 the last row told (time and id), $4 horizon, $5 limit. The order of the owner's clock.
select tenant_id, subject_id, id, event_type, actor, request_id, data, created_at, correlation_id, causation_id, recorded_at
from events
where tenant_id = $1 and recorded_at >= $2 and recorded_at < $4 and (recorded_at, id) > ($2, $3)
order by recorded_at, id
limit $5
