-- event/copy
copy events (tenant_id, subject_id, id, year, event_type, actor, request_id, data, created_at, correlation_id,
    causation_id)
from stdin (format binary)
