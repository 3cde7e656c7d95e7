-- event/append_copy
-- Many events of one change; the columns of append.sql.
copy events (tenant_id, subject_id, id, year, event_type, actor, request_id, data, created_at)
from stdin (format binary)
